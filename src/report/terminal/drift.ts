/** The per-layer block: 30 bins of steps, log scale, then rms, max, added and the share of bit-equal steps. */
import type { DivergenceSummary, DriftRow } from '../../divergence/summary.ts';
import { formats, type StorageType } from '../../numerics/types.ts';
import { padLeft, padRight } from './layout.ts';
import { formatCount, formatDrift, formatShare } from './numbers.ts';

const bars = '▁▂▃▄▅▆▇█';
/** Decade of the scale's lower end, and bars per decade: fixed, so that charts of different runs compare. */
const lowest = -1;
const barsPerDecade = 4;
/** Layers shown in full; above this the first, the last and those that add most. */
const shownLayers = 16;

/** Names of the storage types in sentences. */
export const typeNames: Record<StorageType, string> = { f16: 'fp16', bf16: 'bf16', f32: 'fp32', f64: 'fp64' };

/** One bin: `·` is exactly 0, blank is no step, `×` not a number; values off the scale take its end. */
export function bar(drift: number | null): string {
  if (drift === null) return ' ';
  if (drift === 0) return '·';
  if (Number.isNaN(drift)) return '×';
  const level = Math.floor((Math.log10(drift) - lowest) * barsPerDecade);
  return bars[Math.max(0, Math.min(bars.length - 1, level))];
}

/** The block's lines; none if nothing was measured. */
export function driftLines({ drift, unit, longestSteps }: DivergenceSummary): string[] {
  if (drift.length === 0) return [];
  const bins = drift[0].bins.length;
  const steps = longestSteps > 1 ? padLeft(formatCount(longestSteps), bins - 6) : ' '.repeat(bins - 6);
  const u = `1 u = 2^-${formats[unit].significandBits}, one ${typeNames[unit]} rounding`;
  return [
    `Drift of the newest row, relative L2 in u (${u})`,
    line('', `step 1${steps}`, ['rms', 'max', 'added', 'equal']),
    ...shownRows(drift),
    '  scale   · exactly 0   ▁ ≤ 0.18 u   █ ≥ 5.6 u, log',
    "  added   same input and same history: what the layer's kernel adds by itself",
  ];
}

function shownRows(drift: readonly DriftRow[]): string[] {
  const layers = drift.filter(({ label }) => isLayer(label));
  const kept = new Set(mostAdded(layers));
  const hidden = layers.length - kept.size;
  const lines: string[] = [];
  for (const row of drift) {
    if (!isLayer(row.label) || kept.has(row)) lines.push(rowLine(row));
    if (hidden > 0 && row === layers.at(-1)) lines.push(`  … ${formatCount(hidden)} more`);
  }
  return lines;
}

/** All layers, or the first, the last and the others with the largest added error. */
function mostAdded(layers: readonly DriftRow[]): readonly DriftRow[] {
  if (layers.length <= shownLayers) return layers;
  const middle = layers.slice(1, -1).toSorted((a, b) => (b.added ?? 0) - (a.added ?? 0));
  return [layers[0], ...middle.slice(0, shownLayers - 2), layers[layers.length - 1]];
}

function rowLine({ label, bins, rms, max, added, equalShare }: DriftRow): string {
  return line(label, bins.map(bar).join(''), [
    formatDrift(rms),
    formatDrift(max),
    added === null ? '–' : formatDrift(added),
    formatShare(equalShare),
  ]);
}

function line(label: string, chart: string, [rms, max, added, equal]: string[]): string {
  return `  ${padRight(label, 8)}${chart}${padLeft(rms, 9)}${padLeft(max, 8)}${padLeft(added, 8)}${padLeft(equal, 10)}`;
}

function isLayer(label: string): boolean {
  return /^L\d+$/.test(label);
}
