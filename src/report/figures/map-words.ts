/** What a map says in words: its finding, its name, and what its cells hold by number. */
import { hookDefinitions } from '../../graph/hooks.ts';
import { cellStates, type LayerMap } from '../data/layer-map.ts';
import { formatCount, formatCounted } from '../terminal/numbers.ts';
import { firstRows, type MapGrid, mapGrid } from './map-grid.ts';
import type { ColorScale } from './map-measure.ts';
import { shownName } from './plot.ts';

export interface MapTally {
  captured: number;
  notCaptured: number;
  zero: number;
  nan: number;
  infinite: number;
  below: number;
  above: number;
}

/** Cells of the shown hooks, each step and layer by itself. */
export function tally({ states, steps }: LayerMap, { rows }: MapGrid, scale: ColorScale): MapTally {
  const counts = { captured: 0, notCaptured: 0, zero: 0, nan: 0, infinite: 0, below: 0, above: 0 };
  for (const hook of rows.flatMap((row) => row.hooks)) {
    for (let index = hook * steps.length; index < (hook + 1) * steps.length; index++) {
      const state = states[index];
      if (state === cellStates.notCaptured) counts.notCaptured += 1;
      else counts.captured += 1;
      if (state === cellStates.zero) counts.zero += 1;
      if (state === cellStates.nan) counts.nan += 1;
      if (state === cellStates.infinite) counts.infinite += 1;
      const off = state === cellStates.finite ? scale.off(scale.value(index)) : 0;
      if (off < 0) counts.below += 1;
      if (off > 0) counts.above += 1;
    }
  }
  return counts;
}

/** Steps of a map by what is known of them: from the run's own comparison of every hook, and from the rows captured here. */
export function countSteps(map: LayerMap): { differ: number; equal: number; unknown: number } {
  const { steps, hooks, values } = map;
  const found = { differ: 0, equal: 0, unknown: 0 };
  steps.forEach(({ differs }, step) => {
    const seen = hooks.some((_, hook) => values.n_differ[hook * steps.length + step] > 0);
    if (seen || differs === true) found.differ += 1;
    else if (differs === false) found.equal += 1;
    else found.unknown += 1;
  });
  return found;
}

/**
 * The finding: how many steps differ – in any compared hook, shown or not – and where they do first. Where some operations were not
 * captured, what differs first among the others is what is *seen* first.
 */
export function differenceTitle(map: LayerMap, { nan, infinite }: MapTally): string {
  if (map.hooks.length === 0) return 'No captured hook matches';
  const grid = mapGrid(map, 'all');
  const seen = firstRows(map, grid).filter((row) => row >= 0);
  const steps = map.steps.length;
  const { differ, unknown } = countSteps(map);
  const odd =
    nan > 0
      ? `NaN in ${formatCounted(nan, 'cell')}. `
      : infinite > 0
        ? `Inf in ${formatCounted(infinite, 'cell')}. `
        : '';
  if (differ === 0)
    return unknown === 0
      ? `${odd}Bit-equal in all ${formatCounted(steps, 'step')}`
      : `${odd}No captured row differs in ${formatCounted(steps, 'step')}`;
  const all =
    steps === 1
      ? 'The step differs'
      : differ === steps
        ? `All ${formatCounted(steps, 'step')} differ`
        : `${formatCount(differ)} of ${formatCounted(steps, 'step')} ${differ === 1 ? 'differs' : 'differ'}`;
  if (seen.length === 0) return `${odd}${all}, in none of the rows captured at more than one step`;
  const counts = new Map<number, number>();
  for (const row of seen) counts.set(row, (counts.get(row) ?? 0) + 1);
  const [row, most] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best));
  const complete = isComplete(map) && !map.cut && seen.length === differ;
  const where = `${complete ? 'first' : 'seen first'} in ${rowName(grid, row)}`;
  if (most === differ) return `${odd}${all}, ${most === 1 ? '' : 'each '}${where}`;
  return `${odd}${all}, most often ${where} (${formatCount(most)})`;
}

/** Every operation that all families have was captured. */
function isComplete({ hooks }: LayerMap): boolean {
  const kinds = new Set(hooks.map(({ kind }) => kind));
  return hookDefinitions.every(
    ({ kind, optIn, families }) => optIn || families || kinds.has(kind) || neverMatters(kind),
  );
}

/** Reads of the cache and of the block's input: copies of what other hooks hold; families without gates have no second product. */
function neverMatters(kind: string): boolean {
  return ['resid_pre', 'attn.cache_k', 'attn.cache_v', 'mlp.pre_linear'].includes(kind);
}

/** `L3 scores`, `the embedding`. */
export function rowName({ rows }: MapGrid, row: number): string {
  const { band, label } = rows[row];
  return band === '' ? `the ${label}` : `${band} ${label}`;
}

/** `mini-llama, fp16 · ort, greedy, prompt 3`. */
export function mapName({ condition, prompt, promptIndex }: LayerMap): string {
  const { model, precision, kernels, strategy } = condition;
  const which = promptIndex === null ? `prompt ${shownName(prompt, 16)}` : `prompt ${promptIndex}`;
  return [shownName(model), `${shownName(precision)} · ${shownName(kernels)}`, shownName(strategy), which].join(', ');
}

/** What lies off the scale, and what is no number. */
export function scaleNote(counts: MapTally): string {
  const { below, above, nan, infinite } = counts;
  const odd = [
    ...(nan > 0 ? [`NaN in ${formatCounted(nan, 'cell')} (×)`] : []),
    ...(infinite > 0 ? [`Inf in ${formatCounted(infinite, 'cell')} (∞)`] : []),
  ];
  const numbers = odd.length === 0 ? 'No NaN, no Inf.' : `${odd.join(', ')}.`;
  const off =
    below + above === 0
      ? 'None is off the scale.'
      : `Off the scale: ${formatCount(below)} below (▾), ${formatCount(above)} above (▴).`;
  return `${off} ${numbers}`;
}
