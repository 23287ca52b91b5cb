/**
 * The map: operations in execution order down, decode steps across, colour is how far the arms are apart. Exactly 0 is
 * hatched; a line runs along the first operation that differs in each step; ◆ is a token flip, with both tokens.
 */
import { cellStates, type LayerMap } from '../data/layer-map.ts';
import { formatCount, formatCounted, formatShare } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { mapBody } from './map-body.ts';
import { firstRows, gridCell, type MapGrid, mapGrid, type RowSelection } from './map-grid.ts';
import { mapLegend } from './map-legend.ts';
import { axisParts, contour, flipParts, flipsOf, labelled, type MapLayout, rowLabels } from './map-marks.ts';
import { type ColorScale, colorScale, type Measure, overMedian } from './map-measure.ts';
import { differenceTitle, type MapTally, mapName, scaleNote, tally } from './map-words.ts';
import { textWidth } from './plot.ts';
import { text } from './svg.ts';

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
const groupGap = 3;

/** Draw a map; of a map without any chosen row, a figure that says so. */
export function driftMapFigure(map: LayerMap, options: DriftMapOptions = {}): Figure & { geometry: MapGeometry } {
  const { rows: selection = 'main', measure = 'u', rowMedian = false, framed = true } = options;
  const grid = mapGrid(map, selection);
  const plain = colorScale(map, measure);
  const finite = (index: number) => map.states[index] === cellStates.finite;
  const scale = rowMedian ? overMedian(map, plain, finite) : plain;
  const counts = tally(map, grid, scale);
  const first = firstRows(map, grid);
  const title = options.title ?? differenceTitle(map, counts);
  const subtitle = options.subtitle ?? `${mapName(map)}: ${scale.name}. ${drawn(map, grid)}`;
  const shows = `Map of ${formatCounted(map.steps.length, 'decode step')} across and ${formatCounted(grid.rows.length, 'row')} of operations down; ${zeroShare(counts)} exactly 0, ${formatCounted(flipsOf(map).length, 'token flip')}.`;
  const caption = captionOf(grid, counts);
  let placed = mapLayout(grid, 0);
  // Drawn by the frame, which knows the width that is left.
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
      placed = layout;
      return { height: legend.height + 32, parts: [...legend.parts, note] };
    }
    const flips = flipParts(map, grid, layout, legend.height + 18, theme);
    const top = legend.height + (flips.length > 0 ? 26 : 6);
    placed = { ...layout, tops: layout.tops.map((y) => y + top) };
    const bottom = placed.tops[placed.tops.length - 1] + layout.rowHeight;
    const cells = grid.rows.map((row) => grid.columns.map((column) => gridCell(map, row, column, scale.value)));
    const axis = axisParts(map, grid, placed, bottom, theme);
    const notes = framed ? captionLines(caption, width) : [];
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
  const drawnRows = grid.rows.length > 0 && grid.columns.length > 0;
  return {
    ...figure,
    ...(framed || !drawnRows ? {} : { caption }),
    geometry: geometryOf(map, grid, placed, figure.origin),
  };
}

function mapLayout({ rows, columns, layersPerRow, stepsPerColumn }: MapGrid, width: number): MapLayout {
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

function geometryOf(map: LayerMap, grid: MapGrid, layout: MapLayout, origin: { x: number; y: number }): MapGeometry {
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
    ...{ zero: 'exactly 0 (bit-equal)', contour: 'first row that differs', flips: flipsOf(map).length > 0 },
    ...{ nan: counts.nan > 0, infinite: counts.infinite > 0, notCaptured: counts.notCaptured > 0 },
    ...(rowMedian ? {} : { below: counts.below > 0, above: counts.above > 0 }),
  };
}

function zeroShare({ zero, captured }: MapTally): string {
  return captured === 0 ? 'nothing' : formatShare(zero / captured);
}

function drawn({ steps }: LayerMap, { rows }: MapGrid): string {
  return `Newest row, cached against uncached, teacher-forced; ${formatCounted(steps.length, 'step')}, ${formatCounted(rows.length, 'row')}, execution runs downwards.`;
}

/** What the cells do not say themselves. */
function captionOf({ layersPerRow, stepsPerColumn }: MapGrid, counts: MapTally): string {
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
  return sentences.join(' ');
}

/** The caption in lines that fit. */
function captionLines(caption: string, width: number): string[] {
  const most = Math.floor(width / 5.9);
  const lines: string[] = [];
  for (const word of caption.split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
}
