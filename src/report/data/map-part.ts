/** A part of a map: some layers, some steps, hooks by name. */
import { type LayerMap, mapColumns } from './layer-map.ts';

export interface MapPart {
  /** First and last layer; what lies outside the blocks stays. */
  layers?: readonly [number, number];
  /** First and last step. */
  steps?: readonly [number, number];
  /** Full names, with * for anything. */
  hooks?: string;
}

/** Cut a map; hooks and steps keep their order. */
export function partOfMap(map: LayerMap, { layers, steps, hooks = '' }: MapPart): LayerMap {
  const named = hooks === '' ? null : pattern(hooks);
  const rows = map.hooks.flatMap(({ hook, layer }, i) => {
    const outside = !hook.startsWith('blocks.');
    const within = layers === undefined || outside || (layer >= layers[0] && layer <= layers[1]);
    return within && (named === null || named.test(hook)) ? [i] : [];
  });
  const columns = map.steps.flatMap(({ step }, i) =>
    steps === undefined || (step >= steps[0] && step <= steps[1]) ? [i] : [],
  );
  const at = rows.flatMap((row) => columns.map((column) => row * map.steps.length + column));
  const cut = (values: Float64Array) => Float64Array.from(at, (index) => values[index]);
  const values = Object.fromEntries(mapColumns.map((name) => [name, cut(map.values[name])])) as LayerMap['values'];
  return {
    ...map,
    ...(rows.length < map.hooks.length ? { cut: true } : {}),
    hooks: rows.map((row) => map.hooks[row]),
    steps: columns.map((column) => map.steps[column]),
    states: Uint8Array.from(at, (index) => map.states[index]),
    values,
  };
}

/** `blocks.3.*,logits` as a pattern of whole names. */
function pattern(text: string): RegExp {
  const parts = text.split(',').map((part) => part.trim().split('*').map(escaped).join('.*'));
  return new RegExp(`^(?:${parts.join('|')})$`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
