/** The K/V cache after the last step: keys and values, positions across, layers and heads down; the prompt's part is 0 by construction. */

import { unitRoundoff } from '../../numerics/types.ts';
import type { CacheMap, CachePanel } from '../data/cache-map.ts';
import { shortNames } from '../data/conditions.ts';
import { cellStates } from '../data/layer-map.ts';
import { formatCount, formatCounted, formatShare } from '../terminal/numbers.ts';
import type { MapGeometry } from './drift-map.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { mapBody } from './map-body.ts';
import { gridCell } from './map-grid.ts';
import { mapLegend } from './map-legend.ts';
import { driftColorScale, roundoffText, typeName } from './map-measure.ts';
import { haloText, mostReadable, readable, shownName, textWidth } from './plot.ts';
import { round, text } from './svg.ts';
import type { Palette } from './theme.ts';

const gap = 28;
const left = 34;
const top = 22;
const tallest = 14;
const mostHeight = 260;
const bandGap = 4;

/** Draw keys and values side by side, below each other where the figure is narrow. */
export function cacheMapFigure(
  map: CacheMap,
  options: FigureOptions = {},
): Figure & { panels: { keys: MapGeometry; values: MapGeometry } } {
  const { condition, unit, byHead, promptLength, positions } = map;
  const equal = { keys: equalRows(map.keys), values: equalRows(map.values) };
  const which = map.promptIndex === null ? shownName(map.prompt, 16) : String(map.promptIndex);
  const name = `${shownName(condition.model)}, ${shownName(shortNames([condition]).get(condition.condition) ?? '')}, prompt ${which}`;
  const heads = byHead
    ? 'one row of pixels per K/V head'
    : 'the heads of a layer together (--save-activations tells them apart)';
  const texts = {
    title: titleOf(equal),
    subtitle: `${name}: rows of the cache as the last step reads them, against recomputed ones, relative L2 in u, 1 u = ${roundoffText(unit)}, one ${typeName[unit]} rounding; layers run downwards, ${heads}.`,
    shows: `Keys: ${share(equal.keys)} of the new rows are equal. Values: ${share(equal.values)}. ${formatCounted(promptLength, 'position')} of the prompt, ${formatCounted(positions, 'new one')}.`,
  };
  const placed: { keys: MapGeometry | null; values: MapGeometry | null } = { keys: null, values: null };
  const figure = frame(texts, options, (palette, width) => {
    const across = width >= 560 ? 2 : 1;
    const panelWidth = (width - (across - 1) * gap) / across;
    const scale = driftColorScale();
    const all = [map.keys, map.values];
    const has = (state: number) => all.some(({ states }) => states.includes(state));
    const marks = {
      nan: has(cellStates.nan),
      infinite: has(cellStates.infinite),
      notCaptured: has(cellStates.notCaptured),
    };
    const legend = mapLegend(0, width, { scale, zero: 'exactly 0 (bit-equal)', ...marks }, palette);
    let y = legend.height + 4;
    let bottom = y;
    const parts = (['keys', 'values'] as const).flatMap((kind, i) => {
      const x = across === 2 ? i * (panelWidth + gap) : 0;
      if (across === 1 && i === 1) y = bottom + 12;
      const drawn = panel(map, map[kind], { x, y, width: panelWidth, name: kind === 'keys' ? 'K' : 'V' }, palette);
      bottom = Math.max(bottom, y + drawn.height);
      placed[kind] = drawn.geometry;
      // A file and a notebook have no readout.
      const read = options.framed === false ? readableRows(map, kind, drawn.geometry) : [];
      return [...drawn.parts, ...read];
    });
    return { height: bottom, parts: [...legend.parts, ...parts] };
  });
  const at = (geometry: MapGeometry | null): MapGeometry => {
    const { x, y } = figure.origin;
    const own = geometry ?? { x: 0, cellWidth: 0, rowHeight: 0, rows: [], columns: [] };
    return { ...own, x: own.x + x, rows: own.rows.map((row) => ({ ...row, top: row.top + y })) };
  };
  return { ...figure, panels: { keys: at(placed.keys), values: at(placed.values) } };
}

/** One of the two, in the coordinates of the body. */
function panel(
  { promptLength, positions, unit, byHead }: CacheMap,
  { rows, states, drift }: CachePanel,
  { x, y, width, name }: { x: number; y: number; width: number; name: string },
  palette: Palette,
): { height: number; parts: string[]; geometry: MapGeometry } {
  const { theme } = palette;
  const total = promptLength + positions;
  const plot = { x: x + left, y: y + top, width: width - left - 4 };
  // A cell is no narrower than a pixel: then several positions share it, and what they hold is told as in every map.
  const shared = Math.max(1, Math.ceil(total / plot.width));
  const columns = Array.from({ length: Math.ceil(total / shared) }, (_, i) => ({
    from: i * shared,
    to: Math.min(total, (i + 1) * shared),
  }));
  const layers = new Set(rows.map(({ layer }) => layer)).size;
  const rowHeight = Math.max(
    3,
    Math.min(tallest, Math.floor((mostHeight - layers * bandGap) / Math.max(1, rows.length))),
  );
  let height = 0;
  const tops = rows.map(({ layer }, i) => {
    if (i > 0) height += rowHeight + (layer === rows[i - 1].layer ? 0 : bandGap);
    return plot.y + height;
  });
  const bottom = plot.y + height + rowHeight;
  // The prompt's rows beside the new ones: written by the same prefill.
  const whole = { states: new Uint8Array(rows.length * total).fill(cellStates.zero), steps: { length: total } };
  rows.forEach((_, row) => {
    whole.states.set(states.subarray(row * positions, (row + 1) * positions), row * total + promptLength);
  });
  const value = (index: number) =>
    drift[Math.floor(index / total) * positions + (index % total) - promptLength] / unitRoundoff(unit);
  const cells = rows.map((_, row) => columns.map((column) => gridCell(whole, { hooks: [row] }, column, value)));
  const cellWidth = (plot.width * shared) / total;
  const place = { x: plot.x, tops, rowHeight, cellWidth, pixel: 1 };
  const end = round(plot.x + (promptLength / total) * plot.width);
  const label = promptLength === 0 ? '' : '0 by construction';
  const fits = textWidth(label) + 8 < end - plot.x;
  // In the middle of a layer, not between two.
  const middle = rows.filter(({ layer }) => layer === rows[Math.floor(rows.length / 2)].layer);
  const middleY = (tops[rows.indexOf(middle[0])] ?? plot.y) + (middle.length * rowHeight) / 2;
  const geometry: MapGeometry = {
    ...{ x: plot.x, cellWidth, rowHeight },
    rows: rows.map(({ layer, head }, i) => ({
      ...{ top: tops[i], band: `L${layer}`, label: head === null ? '' : `head ${head}` },
      hooks: [`blocks.${layer}.attn.hook_cache_${name.toLowerCase()}`],
    })),
    columns: columns.map(({ from, to }) => ({ first: from, last: to - 1 })),
  };
  const parts = [
    text(round(x), y + 12, byHead ? `${name}, by head` : name, theme.ink, 'font-size="12.5" font-weight="620"'),
    ...(rows.length === 0
      ? [text(plot.x, plot.y + 12, 'not captured', theme.ink3, 'font-size="12"')]
      : mapBody(cells, place, driftColorScale(), palette)),
    ...bandLabels(rows, tops, rowHeight, x, palette),
    `<path class="prompt-end" d="M${end} ${plot.y - 3}V${bottom + 3}" stroke="${theme.ink}" stroke-width="1.4"/>`,
    fits
      ? haloText(round((plot.x + end) / 2), round(middleY + 4), label, {
          theme,
          anchor: 'middle',
          weight: 400,
        })
      : '',
    text(plot.x, bottom + 17, fits || label === '' ? 'prompt' : `prompt: ${label}`, theme.ink2, 'font-size="11.5"'),
    text(
      round(plot.x + plot.width),
      bottom + 17,
      `position ${formatCount(total - 1)}`,
      theme.ink2,
      'font-size="11.5" text-anchor="end"',
    ),
  ];
  return { height: bottom + 24 - y, parts, geometry };
}

/** Of each row how many of the new ones are equal, and where the largest difference is. */
function readableRows(map: CacheMap, kind: 'keys' | 'values', { x, rowHeight, rows, ...geometry }: MapGeometry) {
  const { positions, promptLength } = map;
  const { states, drift, ...panel } = map[kind];
  if (rows.length > mostReadable / 2) return [];
  return panel.rows.map(({ layer, head }, row) => {
    const at = (state: number) => own.filter((index) => states[index] === state).length;
    const own = Array.from({ length: positions }, (_, i) => row * positions + i);
    const finite = own.filter((index) => states[index] === cellStates.finite);
    const most = finite.reduce<number | null>(
      (top, index) => (top === null || drift[index] > drift[top] ? index : top),
      null,
    );
    const odd = at(cellStates.nan) + at(cellStates.infinite);
    const area = { x, y: rows[row].top, width: geometry.columns.length * geometry.cellWidth, height: rowHeight };
    return readable(area, {
      ...{ part: kind, hook: rows[row].hooks[0], layer, head },
      ...{ exact: at(cellStates.zero), newRows: positions - at(cellStates.notCaptured) },
      largest: most === null ? null : drift[most],
      position: most === null ? null : promptLength + most - row * positions,
      notNumbers: odd === 0 ? null : odd,
    });
  });
}

function bandLabels(
  rows: CachePanel['rows'],
  tops: readonly number[],
  rowHeight: number,
  x: number,
  { theme }: Palette,
): string[] {
  let free = Number.NEGATIVE_INFINITY;
  return rows.flatMap(({ layer }, i) => {
    if (rows[i - 1]?.layer === layer) return [];
    const last = rows.findLastIndex((row) => row.layer === layer);
    const middle = round((tops[i] + tops[last] + rowHeight) / 2 + 4);
    if (middle < free) return [];
    free = middle + 12;
    return [text(round(x), middle, `L${layer}`, theme.ink, 'font-size="11.5"')];
  });
}

interface Equal {
  equal: number;
  rows: number;
}

/** New rows that are equal in every element, of those measured. */
function equalRows({ states }: CachePanel): Equal {
  const counts = { equal: 0, rows: 0 };
  for (const state of states) {
    if (state !== cellStates.notCaptured) counts.rows += 1;
    if (state === cellStates.zero) counts.equal += 1;
  }
  return counts;
}

function share({ equal, rows }: Equal): string {
  return rows === 0 ? 'none measured' : formatShare(equal / rows);
}

function titleOf({ keys, values }: { keys: Equal; values: Equal }): string {
  const rows = keys.rows + values.rows;
  const differ = rows - keys.equal - values.equal;
  if (rows === 0) return 'No new row of the cache was measured';
  if (differ === 0) return `All ${formatCounted(rows, 'new row')} of the cache are bit-equal to recomputed ones`;
  const count = differ === rows ? `All ${formatCount(rows)}` : `${formatCount(differ)} of ${formatCount(rows)}`;
  return `${count} new rows of the cache ${differ === 1 ? 'differs' : 'differ'} from recomputed ones`;
}
