/** Grids of cells as a map: layers down, heads, hooks or positions across, one glyph each. */
import type { CellSummary, HorizonSummary, PatchSummary } from '../../patching/run/summary.ts';
import { padRight } from './layout.ts';
import { at, shown } from './recovery.ts';

const bars = '▁▂▃▄▅▆▇█';
/** Columns of a map before they are binned. */
const mapColumns = 48;

/** Layers (or one line) down, heads, hooks or ages across: R at the first horizon. */
export function gridLines({ cells, spec }: PatchSummary, columns: number): string[] {
  const [horizon] = [...spec.measure.horizons].toSorted((a, b) => a - b);
  const byLayer = spec.grid?.includes('layer') ?? false;
  const label = ({ label: { layer, component }, kernel, history }: CellSummary) =>
    [
      byLayer ? `L${layer}` : 'all',
      component === 'value' ? '' : component,
      kernel === 'prefill' ? 'prefill' : '',
      history === 'recomputed' ? 'rec.' : '',
    ]
      .filter((text) => text !== '')
      .join(' ');
  const rows = new Map<string, CellSummary[]>();
  for (const cell of cells) rows.set(label(cell), [...(rows.get(label(cell)) ?? []), cell]);
  const across = acrossName(cells);
  const lines = [
    `Recovery R of single cells at ${horizon === 0 ? 'the patched step' : `+${horizon}`}, ${across} across`,
  ];
  for (const [name, group] of rows) {
    const found = group.toSorted((a, b) => (a.age ?? 0) - (b.age ?? 0));
    const chart = binned(
      found.map((cell) => at(cell, horizon)),
      Math.min(mapColumns, columns - 32),
    ).join('');
    const best = found.reduce<CellSummary | null>(
      (top, cell) => (recoveryOf(cell, horizon) > recoveryOf(top, horizon) ? cell : top),
      null,
    );
    lines.push(
      `  ${padRight(name, 14)}${chart}  ${best === null ? 'nothing to recover' : `max ${shown(recoveryOf(best, horizon))}${placeOf(best)}`}`,
    );
  }
  lines.push('  scale   · exactly 0   ▁ ≤ 0.125 … █ ≤ 1   ▾ < 0   ∅ nothing to recover');
  return lines;
}

function recoveryOf(cell: CellSummary | null, horizon: number): number {
  return (cell === null ? null : at(cell, horizon)?.recovery) ?? Number.NEGATIVE_INFINITY;
}

function acrossName(cells: readonly CellSummary[]): string {
  if (cells.some(({ age }) => age !== null)) return 'positions from the newest back';
  if (cells.some(({ label }) => label.head !== null)) return 'heads';
  return cells.some(({ label }) => label.component === 'value') ? 'hooks in the order of the spec' : 'one cell';
}

function placeOf({ age, label: { head, hook, component } }: CellSummary): string {
  if (age !== null) return ` at −${age + 1}`;
  if (head !== null) return ` at head ${head}`;
  return component === 'value' ? ` at ${hook.replace(/^blocks\.\d+\.(hook_)?/, '')}` : '';
}

/** One glyph per column; a bin shows its largest recovery, so that nothing is hidden. */
function binned(cells: readonly (HorizonSummary | undefined)[], most: number): string[] {
  const size = Math.ceil(cells.length / most);
  return Array.from({ length: Math.ceil(cells.length / size) }, (_, i) => {
    const bin = cells.slice(i * size, (i + 1) * size).filter((cell) => cell !== undefined && cell.count > 0);
    if (bin.length === 0) return ' ';
    const values = bin.map((cell) => cell?.recovery ?? null).filter((value) => value !== null);
    if (values.length === 0) return '∅';
    return glyph(values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)));
  });
}

function glyph(value: number): string {
  if (Number.isNaN(value)) return '×';
  if (value === 0) return '·';
  if (value < 0) return '▾';
  return bars[Math.min(bars.length - 1, Math.ceil(value * bars.length) - 1)];
}
