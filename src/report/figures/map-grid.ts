/**
 * How a map of hooks and steps falls into rows and columns of cells. Over 200 steps, or over 40 layers, several share a
 * cell. Such a cell hides neither a zero nor a NaN: one NaN makes it ×, else one infinity ∞; else its colour is the largest
 * value in it, and the share of exact zeros in it stays hatched – at least a pixel of each where both occur.
 */
import { cellStates, type LayerMap, type MapHook } from '../data/layer-map.ts';

/** `main`: what the README's map shows; or kinds by name. */
export type RowSelection = 'main' | 'core' | 'resid_post' | 'all' | readonly string[];

export interface GridRow {
  /** `L0`, `L0–1` where layers share a row; empty outside the blocks. */
  band: string;
  label: string;
  /** Indices into the map's hooks. */
  hooks: readonly number[];
}

export interface GridColumn {
  /** Indices into the map's steps: from, and one after the last. */
  from: number;
  to: number;
}

export interface MapGrid {
  rows: readonly GridRow[];
  columns: readonly GridColumn[];
  /** How many layers and steps share a cell. */
  layersPerRow: number;
  stepsPerColumn: number;
}

export interface GridCell {
  /** Of `cellStates`: the gravest in it. */
  state: number;
  /** The largest value of what is finite and not 0; NaN where nothing is. */
  value: number;
  /** Share of exact zeros in what was captured. */
  zeros: number;
}

export const mostColumns = 200;
export const mostLayers = 40;

const core = ['embed', 'resid_pre', 'attn.v', 'attn.rot_k', 'attn_out', 'resid_mid', 'mlp_out', 'resid_post', 'logits'];
const main = ['embed', 'attn.attn_scores', 'attn_out', 'mlp_out', 'resid_post', 'ln_final.normalized', 'logits'];
const selections: Record<Exclude<RowSelection & string, 'all'>, readonly string[]> = {
  main,
  core,
  resid_post: ['embed', 'resid_post', 'ln_final.normalized', 'logits'],
};

/** Rows and columns of a map. */
export function mapGrid(map: LayerMap, selection: RowSelection): MapGrid {
  const { hooks, steps } = map;
  const layers =
    hooks.reduce((most, { layer, hook }) => (hook.startsWith('blocks.') ? Math.max(most, layer) : most), -1) + 1;
  const layersPerRow = Math.max(1, Math.ceil(layers / mostLayers));
  const stepsPerColumn = Math.max(1, Math.ceil(steps.length / mostColumns));
  const rows = new Map<string, GridRow & { hooks: number[]; group: number; order: number }>();
  hooks.forEach(({ hook, kind, layer }, index) => {
    if (!isChosen(map, index, selection)) return;
    const inBlock = hook.startsWith('blocks.');
    const group = inBlock ? Math.floor(layer / layersPerRow) : layer < 0 ? -1 : layers;
    const key = `${group} ${kind}`;
    const row = rows.get(key);
    if (row) row.hooks.push(index);
    else {
      const band = inBlock ? bandName(group * layersPerRow, Math.min(layers, (group + 1) * layersPerRow)) : '';
      // Hooks come in execution order: the first layer of a group tells the order of its rows.
      rows.set(key, { band, label: kindLabel(kind), hooks: [index], group, order: rows.size });
    }
  });
  const sorted = [...rows.values()].sort((a, b) => a.group - b.group || a.order - b.order);
  return {
    rows: sorted.map(({ band, label, hooks: own }) => ({ band, label, hooks: own })),
    columns: Array.from({ length: Math.ceil(steps.length / stepsPerColumn) }, (_, i) => ({
      from: i * stepsPerColumn,
      to: Math.min(steps.length, (i + 1) * stepsPerColumn),
    })),
    ...{ layersPerRow, stepsPerColumn },
  };
}

/** Hooks that were captured at one step only, as the first to differ is, are shown where they are asked for by name. */
function isChosen({ hooks, steps, states }: LayerMap, index: number, selection: RowSelection): boolean {
  const { kind } = hooks[index];
  if (typeof selection !== 'string') return selection.includes(kind);
  if (selection !== 'all' && !selections[selection].includes(kind)) return false;
  let captured = 0;
  for (let step = 0; step < steps.length; step++) {
    if (states[index * steps.length + step] !== cellStates.notCaptured) captured += 1;
  }
  return captured > 1 || steps.length === 1;
}

function bandName(first: number, end: number): string {
  return end - first === 1 ? `L${first}` : `L${first}–${end - 1}`;
}

/** `attn.attn_scores` → `scores`, `ln_final.normalized` → `final norm`. */
export function kindLabel(kind: string): string {
  const known: Record<string, string> = {
    'attn.attn_scores': 'scores',
    'ln_final.scale': 'final rms',
    'ln_final.normalized': 'final norm',
    'unembed.out': 'unembed',
  };
  return known[kind] ?? kind.replace(/^attn\./, '').replaceAll(/[._]/g, ' ');
}

/** What one cell of the grid holds. @param value of a hook and step, by its index in the map */
export function gridCell(
  map: Pick<LayerMap, 'states'> & { steps: { length: number } },
  row: Pick<GridRow, 'hooks'>,
  column: GridColumn,
  value: (index: number) => number,
): GridCell {
  const { states, steps } = map;
  let [gravest, largest, zeros, captured] = [cellStates.notCaptured as number, Number.NaN, 0, 0];
  for (const hook of row.hooks) {
    for (let step = column.from; step < column.to; step++) {
      const index = hook * steps.length + step;
      const state = states[index];
      if (state === cellStates.notCaptured) continue;
      captured += 1;
      gravest = Math.max(gravest, state);
      if (state === cellStates.zero) zeros += 1;
      if (state === cellStates.finite && !(largest >= value(index))) largest = value(index);
    }
  }
  return { state: gravest, value: largest, zeros: captured === 0 ? 0 : zeros / captured };
}

/** By step, the first of the rows that differs; −1 where none does. NaN and infinities differ where their bits do. */
export function firstRows({ steps, values }: LayerMap, { rows }: MapGrid): Int32Array {
  return Int32Array.from(steps, (_, step) =>
    rows.findIndex(({ hooks }) => hooks.some((hook) => values.n_differ[hook * steps.length + step] > 0)),
  );
}

/** The first step that differs and its first hook, by index; once-captured hooks count. Null where nothing differs. */
export function firstDifference({ steps, hooks, values }: LayerMap): { step: number; hook: number } | null {
  for (let step = 0; step < steps.length; step++) {
    const hook = hooks.findIndex((_, row) => values.n_differ[row * steps.length + step] > 0);
    if (hook >= 0) return { step, hook };
  }
  return null;
}

/** `L3 scores`, `logits`. */
export function hookLabel({ hook, kind, layer }: MapHook): string {
  return hook.startsWith('blocks.') ? `L${layer} ${kindLabel(kind)}` : kindLabel(kind);
}
