/** Maps of signed values in characters: bars above 0, shades below; tokens or heads under their columns. */
import type { CleanCorruptedFindings } from '../../patching/clean-corrupted/run.ts';
import type { HeatMap } from '../clean-corrupted.ts';
import { displayWidth, padRight, visible, wrap } from './layout.ts';
import { formatCounted } from './numbers.ts';
import { shown } from './recovery.ts';

const bars = '▁▂▃▄▅▆▇█';
/** Room at the end of a row for its largest value and where it is: `  −0.03 at 59`. */
const endWidth = 13;
/** A column of a small map is so wide at most. */
const widest = 4;
/** Rows of a map before only the strongest are shown. */
const mostRows = 24;
/** Weaker columns get no label, unless their tokens differ. */
const labelled = 0.05;

/** One block per map; the labels stand under the last one of its columns. */
export function heatMapLines(maps: readonly HeatMap[], found: CleanCorruptedFindings, columns: number): string[][] {
  return maps.map((map, i) => {
    const isLast = maps[i + 1]?.columns !== map.columns;
    const labelWidth = Math.max(...map.rows.map((label) => label.length)) + 4;
    const layout = new Columns(map.values[0].length, labelWidth, Math.min(columns, 80) - labelWidth - endWidth);
    const under = isLast ? labelLines(map, maps, found, layout) : [];
    return [map.title, ...rowLines(map, layout), ...under];
  });
}

/** What the characters mean. */
export function scaleLines(columns: number): string[] {
  const parts = ['· exactly 0', 'blank < 0.01', '▁ ≤ 0.125 … █ ≥ 0.875', '░ < 0  ▒ < −0.25  ▓ < −0.75'];
  const text = parts.map((part) => part.replaceAll(' ', '\u00a0')).join('  ');
  return wrap(`  R: 0 as the corrupted run, 1 as the clean run`, columns).concat(
    wrap(text, columns, { first: '  scale   ', indent: '          ' }).map((line) => line.replaceAll('\u00a0', ' ')),
  );
}

/** How columns of a map lie in characters: several to a character, or several characters to one. */
class Columns {
  readonly bin: number;
  readonly width: number;
  readonly count: number;
  /** Characters before the first column. */
  readonly labelWidth: number;

  constructor(count: number, labelWidth: number, room: number) {
    this.labelWidth = labelWidth;
    this.bin = Math.ceil(count / room);
    this.count = Math.ceil(count / this.bin);
    this.width = Math.max(1, Math.min(widest, Math.floor(room / this.count)));
  }

  /** The first character of a column. */
  at(column: number): number {
    return Math.floor(column / this.bin) * this.width;
  }

  get room(): number {
    return this.count * this.width;
  }
}

function rowLines({ rows, values, columns }: HeatMap, layout: Columns): string[] {
  const strengths = values.map((line) => strongest(line)).map((at) => (at === null ? 0 : Math.abs(at.value)));
  const least = rows.length <= mostRows ? -1 : strengths.toSorted((a, b) => b - a)[mostRows];
  const lines: string[] = [];
  rows.forEach((label, i) => {
    if (strengths[i] <= least) return;
    const best = strongest(values[i]);
    const end = best === null ? '' : `  ${shown(best.value)} at ${columns === 'heads' ? 'head ' : ''}${best.column}`;
    const chart = Array.from({ length: layout.count }, (_, at) => {
      const part = values[i].slice(at * layout.bin, (at + 1) * layout.bin);
      return glyph(strongest(part)?.value ?? null).repeat(layout.width);
    });
    lines.push(`  ${padRight(label, layout.labelWidth - 2)}${chart.join('')}${end}`);
  });
  const left = rows.length - lines.length;
  return left === 0 ? lines : [...lines, `  … ${formatCounted(left, 'row')} more, none beyond ±${shown(least)}`];
}

/** The largest value by size; null where no patch changes a bit. */
function strongest(values: readonly (number | null)[]): { value: number; column: number } | null {
  let best: { value: number; column: number } | null = null;
  values.forEach((value, column) => {
    if (value !== null && (best === null || !(Math.abs(value) <= Math.abs(best.value)))) best = { value, column };
  });
  return best;
}

function glyph(value: number | null): string {
  if (value === null || value === 0) return '·';
  if (Number.isNaN(value)) return '×';
  if (Math.abs(value) < 0.01) return ' ';
  if (value > 0) return bars[Math.min(bars.length, Math.ceil(value * bars.length)) - 1];
  return value >= -0.25 ? '░' : value >= -0.75 ? '▒' : '▓';
}

/** Marks and labels under the columns that matter most, as many as find room. */
function labelLines(
  map: HeatMap,
  maps: readonly HeatMap[],
  { tokens }: CleanCorruptedFindings,
  layout: Columns,
): string[] {
  const alike = maps.filter(({ columns }) => columns === map.columns);
  const strength = (column: number) =>
    Math.max(...alike.flatMap(({ values }) => values.map((line) => Math.abs(line[column] ?? 0))));
  const count = map.values[0].length;
  const isNamed = (column: number) => map.columns === 'heads' || tokens[column].differs;
  const order = Array.from({ length: count }, (_, column) => ({ column, rank: strength(column) }))
    .filter(({ column, rank }) => rank >= labelled || isNamed(column))
    .toSorted((a, b) => Number(isNamed(b.column)) - Number(isNamed(a.column)) || b.rank - a.rank);
  const text = new Array<string>(layout.room).fill(' ');
  const mark = new Array<string>(layout.room).fill(' ');
  for (const { column } of order) {
    const label = map.columns === 'heads' ? String(column) : visible(tokens[column].corrupted, 8);
    const width = displayWidth(label);
    const start = Math.max(0, Math.min(layout.at(column), layout.room - width));
    const around = text.slice(Math.max(0, start - 1), start + width + 1);
    if (width === 0 || start + width > layout.room || around.some((character) => character !== ' ')) continue;
    // Wide characters take the place of two.
    text.splice(start, width, label, ...new Array<string>(width - 1).fill(''));
    mark[layout.at(column)] = '^';
  }
  const indent = ' '.repeat(layout.labelWidth);
  return [indent + mark.join(''), indent + text.join('')];
}
