/** What stands around and over the cells of a map: labels of rows, the line of first differences, flips, steps and tokens. */
import type { LayerMap } from '../data/layer-map.ts';
import { tokenText } from '../visible.ts';
import type { MapGrid } from './map-grid.ts';
import { haloText, shapePath, textWidth } from './plot.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

/** Rows of at least this height have labels. */
export const labelled = 9;

export interface MapLayout {
  x: number;
  bandWidth: number;
  cellWidth: number;
  rowHeight: number;
  tops: number[];
}

/** What stands beside the rows: bands of layers, and the hooks where rows are high enough. */
export function rowLabels({ rows }: MapGrid, { bandWidth, rowHeight, tops, x }: MapLayout, theme: Theme): string[] {
  const own = rowHeight >= labelled;
  return rows.flatMap(({ band, label }, i) => {
    const baseline = round(tops[i] + rowHeight / 2 + 3.6);
    const parts = own ? [text(x - 8, baseline, label, theme.ink2, 'font-size="10.5" text-anchor="end"')] : [];
    if (band === '' || rows[i - 1]?.band === band) return parts;
    const last = rows.findLastIndex((row) => row.band === band);
    const end = tops[last] + rowHeight;
    const height = end - tops[i];
    if (height < 9) return parts;
    parts.push(text(0, round((tops[i] + end) / 2 + 4), band, theme.ink, 'font-size="12" font-weight="620"'));
    if (height > rowHeight) {
      parts.push(
        `<path d="M${round(bandWidth - 5)} ${tops[i] + 1}V${end - 1}" stroke="${theme.rule}" stroke-width="2"/>`,
      );
    }
    return parts;
  });
}

/** Along the top of the first row that differs in a column, with a halo; broken where nothing does. */
export function contour(
  { columns }: MapGrid,
  first: Int32Array,
  { x, cellWidth, tops }: MapLayout,
  theme: Theme,
): string {
  let path = '';
  let before: number | null = null;
  columns.forEach(({ from, to }, i) => {
    const rows = first.subarray(from, to).filter((row) => row >= 0);
    const y = rows.length === 0 ? null : tops[Math.min(...rows)];
    const [left, right] = [round(x + i * cellWidth), round(x + (i + 1) * cellWidth)];
    if (y !== null) path += before === null ? `M${left} ${y}H${right}` : `V${y}H${right}`;
    before = y;
  });
  if (path === '') return '';
  const line = (stroke: string, width: number, name: string) =>
    `<path class="${name}" d="${path}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`;
  return line(theme.background, 3.4, 'halo') + line(theme.ink, 1.6, 'contour');
}

export function flipsOf({ steps }: LayerMap) {
  return steps.flatMap(({ step, flip }, index) => (flip ? [{ step, index, ...flip }] : []));
}

/** A diamond at each flip; both tokens where labels do not meet. */
export function flipParts(
  map: LayerMap,
  grid: MapGrid,
  { x, cellWidth }: MapLayout,
  y: number,
  theme: Theme,
): string[] {
  const end = x + grid.columns.length * cellWidth;
  let free = x;
  const flips = flipsOf(map);
  return flips.flatMap(({ step, index, uncached, cached }, i) => {
    const at = x + (Math.floor(index / grid.stepsPerColumn) + 0.5) * cellWidth;
    const mark = `<path class="flip" data-step="${step}" d="${shapePath('diamond', at, y, 4.2)}" fill="${theme.ink}"/>`;
    const content = `${tokenText(uncached)} → ${tokenText(cached)}`;
    const width = textWidth(content) + 10;
    const next = flips[i + 1];
    const limit = next ? x + (Math.floor(next.index / grid.stepsPerColumn) + 0.5) * cellWidth - 8 : end;
    const label = (left: number, anchor: 'start' | 'end') => haloText(left, y + 4, content, { theme, anchor });
    if (at + 9 >= free && at + 9 + width <= limit) {
      free = at + 9 + width;
      return [mark, label(at + 9, 'start')];
    }
    if (at - 9 - width < free) return [mark];
    free = at + 9;
    return [mark, label(at - 9, 'end')];
  });
}

/** Steps, and the tokens that follow them where columns are wide enough to read. */
export function axisParts(
  map: LayerMap,
  { columns, stepsPerColumn }: MapGrid,
  { x, cellWidth }: MapLayout,
  bottom: number,
  theme: Theme,
): { height: number; parts: string[] } {
  const { steps } = map;
  const middle = (index: number) => round(x + (Math.floor(index / stepsPerColumn) + 0.5) * cellWidth);
  const every = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((size) => steps.length / size <= 8) ?? 1000;
  const last = steps.length - 1;
  const shown = steps.flatMap(({ step }, i) =>
    i === 0 || i === last || (step % every === 0 && i > every / 2 && last - i > every / 2) ? [{ step, i }] : [],
  );
  const parts = shown.map(({ step, i }) =>
    text(
      middle(i),
      bottom + 16,
      i === 0 ? `step ${step}` : String(step),
      theme.ink2,
      'font-size="11" text-anchor="middle"',
    ),
  );
  const tokens = steps.map(({ next }) => (next === null ? '' : tokenText(next, 8)));
  if (stepsPerColumn > 1 || cellWidth < 8.5 || columns.length < 1 || tokens.every((token) => token === '')) {
    return { height: 28, parts };
  }
  const mono = `font-family="ui-monospace,'SF Mono','DejaVu Sans Mono',Menlo,monospace"`;
  const size = Math.min(10.5, round(cellWidth * 0.95));
  tokens.forEach((token, i) => {
    const place = `transform="translate(${round(middle(i) + size * 0.34)} ${bottom + 26}) rotate(-90)" text-anchor="end"`;
    const [fill, weight] = steps[i].flip ? [theme.ink, 700] : [theme.ink2, 400];
    if (token !== '') {
      parts.push(
        `<text ${place} fill="${fill}" font-size="${size}" font-weight="${weight}" ${mono}>${escapeXml(token)}</text>`,
      );
    }
  });
  if (x > 70) parts.push(text(x - 8, bottom + 36, 'next token', theme.ink2, 'font-size="10.5" text-anchor="end"'));
  const longest = Math.max(...tokens.map((token) => [...token].length));
  return { height: 34 + longest * size * 0.62, parts };
}
