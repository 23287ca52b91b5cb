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

/**
 * The finding: how many steps differ, and where they do first – of all hooks that were captured, whether or not they are shown.
 * Where some operations were not captured, what differs first among the others is what is *seen* first.
 */
export function differenceTitle(map: LayerMap, { nan, infinite }: MapTally): string {
  const grid = mapGrid(map, 'all');
  const first = firstRows(map, grid);
  const steps = map.steps.length;
  const differing = first.filter((row) => row >= 0);
  const odd =
    nan > 0
      ? `NaN in ${formatCounted(nan, 'cell')}. `
      : infinite > 0
        ? `Inf in ${formatCounted(infinite, 'cell')}. `
        : '';
  if (differing.length === 0) return `${odd}Bit-equal in all ${formatCounted(steps, 'step')}`;
  const counts = new Map<number, number>();
  for (const row of differing) counts.set(row, (counts.get(row) ?? 0) + 1);
  const [row, most] = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best));
  const where = `${isComplete(map) ? 'first' : 'seen first'} in ${rowName(grid, row)}`;
  if (steps === 1) return `${odd}The step differs, ${where}`;
  const all =
    differing.length === steps
      ? `All ${formatCounted(steps, 'step')} differ`
      : `${formatCount(differing.length)} of ${formatCounted(steps, 'step')} ${differing.length === 1 ? 'differs' : 'differ'}`;
  if (most === differing.length) return `${odd}${all}, ${most === 1 ? '' : 'each '}${where}`;
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
