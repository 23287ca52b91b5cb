/**
 * The map: operations in execution order down, decode steps across, colour is how far the arms are apart. Exactly 0 is
 * hatched; a line runs along the first operation that differs in each step; ◆ is a token flip, with both tokens.
 */
import { cellStates, type LayerMap } from '../data/layer-map.ts';
import { formatCount, formatCounted, formatShare } from '../terminal/numbers.ts';
import { tokenText } from '../visible.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { mapBody } from './map-body.ts';
import { firstRows, gridCell, type MapGrid, mapGrid, type RowSelection } from './map-grid.ts';
import { mapLegend } from './map-legend.ts';
import { type ColorScale, colorScale, type Measure, overMedian } from './map-measure.ts';
import { differenceTitle, mapName, type MapTally, scaleNote, tally } from './map-words.ts';
import { haloText, shapePath, textWidth } from './plot.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

export interface DriftMapOptions extends FigureOptions {
  /** Default `main`. */
  rows?: RowSelection;
  /** Default `u`. */
  measure?: Measure;
  /** Each value over the median of its row: for kernels that make every row differ. Default false. */
  rowMedian?: boolean;
  /** Instead of the finding, and of what is drawn. */
  title?: string;
  subtitle?: string;
}

/** Where the cells of a map lie in its SVG, in CSS pixels. */
export interface MapGeometry {
  x: number;
  cellWidth: number;
  rowHeight: number;
  rows: readonly { top: number; band: string; label: string; hooks: readonly string[] }[];
  /** Steps of each column: first and last. */
  columns: readonly { first: number; last: number }[];
}

const tallest = 13;
/** Rows of more than these pixels together are lower. */
const mostHeight = 620;
const labelled = 9;
const groupGap = 3;

/** Draw a map; of a map without any chosen row, a figure that says so. */
export function driftMapFigure(map: LayerMap, options: DriftMapOptions = {}): Figure & { geometry: MapGeometry } {
  const { rows: selection = 'main', measure = 'u', rowMedian = false } = options;
  const grid = mapGrid(map, selection);
  const plain = colorScale(map, measure);
  const finite = (index: number) => map.states[index] === cellStates.finite;
  const scale = rowMedian ? overMedian(map, plain, finite) : plain;
  const counts = tally(map, grid, scale);
  const first = firstRows(map, grid);
  const title = options.title ?? differenceTitle(map, counts);
  const subtitle = options.subtitle ?? `${mapName(map)}: ${scale.name}. ${drawn(map, grid)}`;
  const shows = `Map of ${formatCounted(map.steps.length, 'decode step')} across and ${formatCounted(grid.rows.length, 'row')} of operations down; ${zeroShare(counts)} exactly 0, ${formatCounted(flipsOf(map).length, 'token flip')}.`;
  let geometry: MapGeometry | null = null;
  const figure = frame({ title, subtitle, shows }, options, (palette, width) => {
    const layout = mapLayout(grid, width);
    const { theme } = palette;
    const legend = mapLegend(0, width, legendOptions(map, scale, counts, rowMedian), palette);
    if (grid.rows.length === 0 || grid.columns.length === 0) {
      const note = text(
        0,
        legend.height + 20,
        'No hook of this selection was captured in more than one step.',
        theme.ink2,
        'font-size="12"',
      );
      geometry = geometryOf(map, grid, layout, { x: 0, y: 0 });
      return { height: legend.height + 32, parts: [...legend.parts, note] };
    }
    const flips = flipParts(map, grid, layout, legend.height + 18, theme);
    const top = legend.height + (flips.length > 0 ? 26 : 6);
    const placed = { ...layout, tops: layout.tops.map((y) => y + top) };
    const bottom = placed.tops[placed.tops.length - 1] + layout.rowHeight;
    const cells = grid.rows.map((row) => grid.columns.map((column) => gridCell(map, row, column, scale.value)));
    const axis = axisParts(map, grid, placed, bottom, theme);
    const notes = captionLines(grid, counts, width);
    geometry = geometryOf(map, grid, placed, { x: 0, y: 0 });
    return {
      height: bottom + axis.height + notes.length * 17 + 6,
      parts: [
        ...legend.parts,
        ...mapBody(cells, { ...placed, pixel: 1 }, scale, palette),
        ...rowLabels(grid, placed, theme),
        contour(grid, first, placed, theme),
        ...flips,
        ...axis.parts,
        ...notes.map((line, i) => text(0, bottom + axis.height + 14 + i * 17, line, theme.ink3, 'font-size="12"')),
      ],
    };
  });
  const placed = geometry ?? geometryOf(map, grid, mapLayout(grid, figure.width), { x: 0, y: 0 });
  const { x, y } = figure.origin;
  return {
    ...figure,
    geometry: { ...placed, x: placed.x + x, rows: placed.rows.map((row) => ({ ...row, top: row.top + y })) },
  };
}

interface Layout {
  x: number;
  bandWidth: number;
  cellWidth: number;
  rowHeight: number;
  tops: number[];
}

function mapLayout({ rows, columns, layersPerRow, stepsPerColumn }: MapGrid, width: number): Layout {
  const gaps = rows.filter((row, i) => i > 0 && row.band !== rows[i - 1].band).length * groupGap;
  // Cells that several values share need room for what is hatched in them.
  const lowest = layersPerRow > 1 || stepsPerColumn > 1 ? 4 : 2;
  const rowHeight = Math.max(lowest, Math.min(tallest, Math.floor((mostHeight - gaps) / Math.max(1, rows.length))));
  const bandWidth = Math.max(24, ...rows.map(({ band }) => textWidth(band, 12) + 12));
  const labels = rowHeight >= labelled ? Math.max(...rows.map((row) => textWidth(row.label, 10.5)), 20) : 0;
  const x = Math.ceil(bandWidth + (labels === 0 ? 4 : labels + 18));
  let y = 0;
  const tops = rows.map((row, i) => {
    if (i > 0) y += rowHeight + (row.band === rows[i - 1].band ? 0 : groupGap);
    return y;
  });
  return { x, bandWidth, cellWidth: (width - x - 8) / Math.max(1, columns.length), rowHeight, tops };
}

function geometryOf(map: LayerMap, grid: MapGrid, layout: Layout, origin: { x: number; y: number }): MapGeometry {
  const { x, cellWidth, rowHeight, tops } = layout;
  return {
    ...{ x: x + origin.x, cellWidth, rowHeight },
    rows: grid.rows.map(({ band, label, hooks }, i) => ({
      ...{ top: tops[i] + origin.y, band, label },
      hooks: hooks.map((hook) => map.hooks[hook].hook),
    })),
    columns: grid.columns.map(({ from, to }) => ({ first: map.steps[from].step, last: map.steps[to - 1].step })),
  };
}

function legendOptions(map: LayerMap, scale: ColorScale, counts: MapTally, rowMedian: boolean) {
  return {
    scale,
    ...{ zero: 'exactly 0 (bit-equal)', contour: 'first operation that differs', flips: flipsOf(map).length > 0 },
    ...{ nan: counts.nan > 0, infinite: counts.infinite > 0, notCaptured: counts.notCaptured > 0 },
    ...(rowMedian ? {} : { below: counts.below > 0, above: counts.above > 0 }),
  };
}

/** What stands beside the rows: bands of layers, and the hooks where rows are high enough. */
function rowLabels({ rows }: MapGrid, { bandWidth, rowHeight, tops, x }: Layout, theme: Theme): string[] {
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
function contour({ columns }: MapGrid, first: Int32Array, { x, cellWidth, tops }: Layout, theme: Theme): string {
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

function flipsOf({ steps }: LayerMap) {
  return steps.flatMap(({ step, flip }, index) => (flip ? [{ step, index, ...flip }] : []));
}

/** A diamond at each flip; both tokens where labels do not meet. */
function flipParts(map: LayerMap, grid: MapGrid, { x, cellWidth }: Layout, y: number, theme: Theme): string[] {
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
function axisParts(
  map: LayerMap,
  { columns, stepsPerColumn }: MapGrid,
  { x, cellWidth }: Layout,
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

function zeroShare({ zero, captured }: MapTally): string {
  return captured === 0 ? 'nothing' : formatShare(zero / captured);
}

function drawn({ steps }: LayerMap, { rows }: MapGrid): string {
  return `Newest row, cached against uncached, teacher-forced; ${formatCounted(steps.length, 'step')}, ${formatCounted(rows.length, 'row')}, execution runs downwards.`;
}

/** What the cells do not say themselves, in lines that fit. */
function captionLines(grid: MapGrid, counts: MapTally, width: number): string[] {
  const { layersPerRow, stepsPerColumn } = grid;
  const shared = [
    ...(stepsPerColumn > 1 ? [`${stepsPerColumn} steps`] : []),
    ...(layersPerRow > 1 ? [`${layersPerRow} layers`] : []),
  ];
  const sentences = [
    ...(shared.length > 0
      ? [
          `Up to ${shared.join(' × ')} share a cell: its colour is the largest value, its hatched part the share of exact zeros, one NaN makes it ×.`,
        ]
      : []),
    `${formatCount(counts.zero)} of ${formatCount(counts.captured)} values are exactly 0.`,
    scaleNote(counts),
  ];
  const most = Math.floor(width / 5.9);
  const lines: string[] = [];
  for (const word of sentences.join(' ').split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}
