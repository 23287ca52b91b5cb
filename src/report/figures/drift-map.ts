/**
 * The map: operations in execution order down, decode steps across, colour is the relative L2 difference of the arms in
 * u. Exactly 0 is hatched; a line runs along the first operation that differs in each step; ◆ is a token flip.
 */
import { figure, round, text } from './svg.ts';
import { driftColor, driftScale, type Theme } from './theme.ts';

/** One row: a hook, and its drift in u at each step (0 is exactly 0, null is not measured). */
export interface MapRow {
  /** `L0`, or empty for hooks outside the blocks. */
  group: string;
  label: string;
  drift: readonly (number | null)[];
}

export interface MapOptions {
  title: string;
  /** What is drawn, n and scale. */
  subtitle: string;
  rows: readonly MapRow[];
  /** First step shown. */
  firstStep: number;
  /** Steps with a token flip. */
  flips: readonly number[];
  /** Says the finding, for those who do not see the figure. */
  alternative: string;
  theme: Theme;
  width: number;
}

const rowHeight = 13;
const groupGap = 3;
const top = 132;
const left = 138;
const right = 36;
const bottom = 40;

/** The figure as an SVG document. */
export function driftMap(options: MapOptions): string {
  const { title, subtitle, rows, firstStep, flips, alternative, theme, width } = options;
  const steps = rows[0].drift.length;
  const cell = (width - left - right) / steps;
  const tops = rowTops(rows);
  const plotBottom = tops[tops.length - 1] + rowHeight;
  const height = plotBottom + bottom;
  const x = (step: number) => round(left + step * cell);
  const parts = [
    ...legend(theme),
    ...cells(rows, tops, x, theme),
    ...labels(rows, tops, theme),
    contour(rows, tops, x, theme),
    ...flips.map((step) => flip(x(step - firstStep) + cell / 2, top - 8, theme)),
    ...axis(firstStep, steps, x, cell, plotBottom, theme),
  ];
  return figure({ title, alternative, theme, width, height }, [subtitle], parts);
}

function rowTops(rows: readonly MapRow[]): number[] {
  let y = top;
  return rows.map((row, i) => {
    if (i > 0) y += rowHeight + (row.group === rows[i - 1].group ? 0 : groupGap);
    return y;
  });
}

/** Cells of one colour are one path. */
function cells(rows: readonly MapRow[], tops: readonly number[], x: (step: number) => number, theme: Theme): string[] {
  const paths = new Map<string, string>();
  const add = (fill: string, from: number, to: number, y: number) => {
    const path = `M${x(from)} ${y}H${x(to)}V${y + rowHeight}H${x(from)}Z`;
    paths.set(fill, (paths.get(fill) ?? '') + path);
  };
  rows.forEach(({ drift }, row) => {
    const fills = drift.map((value) => fillOf(value, theme));
    for (let from = 0; from < fills.length; ) {
      let to = from + 1;
      while (to < fills.length && fills[to] === fills[from]) to++;
      add(fills[from], from, to, tops[row]);
      from = to;
    }
  });
  return [...paths].map(([fill, path]) => `<path d="${path}" fill="${fill}" shape-rendering="crispEdges"/>`);
}

function fillOf(drift: number | null, theme: Theme): string {
  if (drift === null) return 'none';
  if (drift === 0) return 'url(#zero)';
  return Number.isFinite(drift) ? driftColor(theme, drift) : theme.bad;
}

function labels(rows: readonly MapRow[], tops: readonly number[], theme: Theme): string[] {
  return rows.flatMap(({ group, label }, i) => {
    const own = text(left - 8, tops[i] + 10, label, theme.ink2, 'font-size="10.5" text-anchor="end"');
    if (group === '' || rows[i - 1]?.group === group) return [own];
    const last = rows.findLastIndex((row) => row.group === group);
    const end = tops[last] + rowHeight;
    const middle = (tops[i] + end) / 2 + 4;
    const line = `<path d="M58 ${tops[i] + 1}V${end - 1}" stroke="${theme.rule}" stroke-width="2"/>`;
    return [own, line, text(36, middle, group, theme.ink, 'font-size="12" font-weight="620"')];
  });
}

/** Along the top of the first row that differs; broken where nothing does. */
function contour(
  rows: readonly MapRow[],
  tops: readonly number[],
  x: (step: number) => number,
  { ink }: Theme,
): string {
  let path = '';
  let before: number | null = null;
  for (let step = 0; step < rows[0].drift.length; step++) {
    const row = rows.findIndex(({ drift }) => drift[step] !== null && drift[step] !== 0);
    const y = row < 0 ? null : tops[row];
    if (y !== null) path += before === null ? `M${x(step)} ${y}H${x(step + 1)}` : `V${y}H${x(step + 1)}`;
    before = y;
  }
  return `<path d="${path}" fill="none" stroke="${ink}" stroke-width="1.6"/>`;
}

function flip(x: number, y: number, { ink }: Theme): string {
  return `<path d="M${round(x)} ${y - 5}l5 5l-5 5l-5 -5Z" fill="${ink}"/>`;
}

function legend(theme: Theme): string[] {
  const scaleLeft = 204;
  const scaleWidth = 216;
  const parts = [
    `<rect x="36" y="92" width="26" height="11" fill="url(#zero)"/>`,
    text(68, 102, 'exactly 0 (bit-equal)', theme.ink2, 'font-size="12"'),
  ];
  const { least, most } = driftScale;
  const at = (u: number) => (Math.log(u / least) / Math.log(most / least)) * scaleWidth;
  const classes = 24;
  for (let i = 0; i < classes; i++) {
    const drift = least * (most / least) ** ((i + 0.5) / classes);
    const x = round(scaleLeft + 20 + (i * scaleWidth) / classes);
    const width = round(scaleWidth / classes + 0.5);
    parts.push(`<rect x="${x}" y="86" width="${width}" height="11" fill="${driftColor(theme, drift)}"/>`);
  }
  for (const [u, label] of [
    [least, `≤ ${least} u`],
    [0.3, '0.3'],
    [3, '3'],
    [most, `≥ ${most} u`],
  ] as const) {
    const x = round(scaleLeft + 20 + at(u));
    parts.push(text(x, 110, label, theme.ink2, 'font-size="10.5" text-anchor="middle"'));
  }
  const keys = scaleLeft + scaleWidth + 62;
  parts.push(
    `<path d="M${keys} 101h9v-7h9" fill="none" stroke="${theme.ink}" stroke-width="1.6"/>`,
    text(keys + 24, 102, 'first operation that differs', theme.ink2, 'font-size="12"'),
    flip(keys + 198, 98, theme),
    text(keys + 209, 102, 'token flip', theme.ink2, 'font-size="12"'),
    text(keys + 284, 102, '1 u: one rounding (2⁻¹¹ in fp16)', theme.ink2, 'font-size="12"'),
  );
  return parts;
}

function axis(
  first: number,
  steps: number,
  x: (step: number) => number,
  cell: number,
  y: number,
  theme: Theme,
): string[] {
  const every = [1, 2, 5, 10, 20, 25, 50, 100].find((size) => steps / size <= 8) ?? 200;
  const shown = Array.from({ length: steps }, (_, i) => first + i).filter(
    (step, i) => i === 0 || i === steps - 1 || (step % every === 0 && i > every / 2 && steps - i > every / 2),
  );
  return shown.map((step) => {
    const label = step === first ? `step ${step}` : String(step);
    return text(round(x(step - first) + cell / 2), y + 16, label, theme.ink3, 'font-size="11" text-anchor="middle"');
  });
}
