/**
 * The body of a map: an image of its colours, over hatching where something was captured, so that an exact 0 – transparent –
 * is hatched; NaN, infinities and values off the scale as glyphs where cells have room for them.
 */
import { cellStates } from '../data/layer-map.ts';
import type { GridCell } from './map-grid.ts';
import type { ColorScale } from './map-measure.ts';
import { rasterImage } from './raster.ts';
import { round, text } from './svg.ts';
import type { Palette } from './theme.ts';

export interface BodyPlace {
  x: number;
  /** Top of each row. */
  tops: readonly number[];
  rowHeight: number;
  cellWidth: number;
  /** Height of a pixel of the image: rows begin and end at whole ones. */
  pixel: number;
}

/** More glyphs than these would be a second map. */
const mostGlyphs = 2000;
/** Beyond these, NaN and infinities in cells too small for a glyph are told by their red alone. */
const mostMarks = 300;
const glyphRoom = { width: 5.5, height: 8 };

/** The parts of a map's body. @param cells by row, then column; at least one */
export function mapBody(
  cells: readonly (readonly GridCell[])[],
  place: BodyPlace,
  scale: Pick<ColorScale, 'classOf' | 'classes' | 'colors' | 'off'>,
  palette: Palette,
): string[] {
  const { theme } = palette;
  const roomy = place.cellWidth >= glyphRoom.width && place.rowHeight >= glyphRoom.height;
  const odd = cells.flat().filter(({ state }) => state >= cellStates.infinite).length;
  const outlined = roomy && odd <= mostGlyphs;
  return [
    captured(cells, place),
    image(cells, place, scale, palette, outlined),
    notCaptured(cells, place, theme.rule),
    ...(outlined ? oddCells(cells, place, theme.bad) : odd <= mostMarks ? oddMarks(cells, place, theme) : []),
    ...(roomy ? offScale(cells, place, scale, theme) : []),
  ].filter((part) => part !== '');
}

function image(
  cells: readonly (readonly GridCell[])[],
  { x, tops, rowHeight, cellWidth, pixel }: BodyPlace,
  { classOf, classes, colors }: Pick<ColorScale, 'classOf' | 'classes' | 'colors'>,
  palette: Palette,
  outlined: boolean,
): string {
  const width = cells[0].length;
  const bottom = tops[tops.length - 1] + rowHeight;
  const height = Math.round((bottom - tops[0]) / pixel);
  const rows = Math.round(rowHeight / pixel);
  const indices = new Uint8Array(width * height);
  cells.forEach((row, i) => {
    const top = Math.round((tops[i] - tops[0]) / pixel);
    row.forEach(({ state, value, zeros }, column) => {
      if (state < cellStates.finite) return;
      const color = state === cellStates.finite ? classOf(value) : outlined ? classes + 1 : classes + 2;
      // What is exactly 0 among the values that share a cell stays hatched, at its foot.
      const hatched =
        state === cellStates.finite && zeros > 0 && rows > 1
          ? Math.max(1, Math.min(rows - 1, Math.round(zeros * rows)))
          : 0;
      for (let y = top; y < top + rows - hatched; y++) indices[y * width + column] = color;
    });
  });
  if (indices.every((index) => index === 0)) return '';
  const box = { x, y: tops[0], width: width * cellWidth, height: bottom - tops[0] };
  return rasterImage({ width, height, indices }, box, palette, (theme) => [
    ...colors(theme),
    theme.background,
    theme.bad,
  ]);
}

/** Hatching under every cell that was captured. */
function captured(cells: readonly (readonly GridCell[])[], place: BodyPlace): string {
  const path = runs(cells, place, ({ state }) => state !== cellStates.notCaptured, 0);
  return path === '' ? '' : `<path d="${path}" fill="url(#kvl-zero)"/>`;
}

function notCaptured(cells: readonly (readonly GridCell[])[], place: BodyPlace, stroke: string): string {
  const path = runs(cells, place, ({ state }) => state === cellStates.notCaptured, 0.5);
  return path === '' ? '' : `<path class="not-captured" d="${path}" fill="none" stroke="${stroke}"/>`;
}

/** Rectangles around neighbouring cells of a row. */
function runs(
  cells: readonly (readonly GridCell[])[],
  { x, tops, rowHeight, cellWidth }: BodyPlace,
  holds: (cell: GridCell) => boolean,
  inset: number,
): string {
  let path = '';
  cells.forEach((row, i) => {
    for (let from = 0; from < row.length; from++) {
      if (!holds(row[from])) continue;
      let to = from + 1;
      while (to < row.length && holds(row[to])) to += 1;
      const [left, right] = [round(x + from * cellWidth + inset), round(x + to * cellWidth - inset)];
      path += `M${left} ${round(tops[i] + inset)}H${right}V${round(tops[i] + rowHeight - inset)}H${left}Z`;
      from = to;
    }
  });
  return path;
}

/** NaN and infinities: a red outline, and the glyph. */
function oddCells(cells: readonly (readonly GridCell[])[], place: BodyPlace, bad: string): string[] {
  const { x, tops, rowHeight, cellWidth } = place;
  const size = round(Math.min(rowHeight - 1, cellWidth + 2, 13));
  return cells.flatMap((row, i) =>
    row.flatMap(({ state }, column) => {
      if (state < cellStates.infinite) return [];
      const left = x + column * cellWidth;
      const glyph = state === cellStates.nan ? '×' : '∞';
      const middle = `font-size="${size}" font-weight="700" text-anchor="middle"`;
      return [
        `<rect x="${round(left + 0.5)}" y="${round(tops[i] + 0.5)}" width="${round(cellWidth - 1)}" height="${round(rowHeight - 1)}" fill="none" stroke="${bad}"/>`,
        text(round(left + cellWidth / 2), round(tops[i] + rowHeight / 2 + size * 0.36), glyph, bad, middle),
      ];
    }),
  );
}

/** In cells too small for an outline: the glyph in a ring over what is around it, so that no single NaN is lost. */
function oddMarks(
  cells: readonly (readonly GridCell[])[],
  { x, tops, rowHeight, cellWidth }: BodyPlace,
  { bad, background }: Palette['theme'],
): string[] {
  return cells.flatMap((row, i) =>
    row.flatMap(({ state }, column) => {
      if (state < cellStates.infinite) return [];
      const glyph = state === cellStates.nan ? '×' : '∞';
      const [left, y] = [round(x + (column + 0.5) * cellWidth), round(tops[i] + rowHeight / 2)];
      return [
        `<circle cx="${left}" cy="${y}" r="6" fill="${background}" stroke="${bad}" stroke-width="1.5"/>`,
        text(left, round(y + 4.2), glyph, bad, 'font-size="12" font-weight="700" text-anchor="middle"'),
      ];
    }),
  );
}

/** ▾ below the scale, ▴ above it. */
function offScale(
  cells: readonly (readonly GridCell[])[],
  { x, tops, rowHeight, cellWidth }: BodyPlace,
  { off }: Pick<ColorScale, 'off'>,
  { ink, background }: Palette['theme'],
): string[] {
  const paths = { below: '', above: '' };
  let count = 0;
  cells.forEach((row, i) => {
    row.forEach(({ state, value }, column) => {
      const side = state === cellStates.finite ? off(value) : 0;
      if (side === 0 || ++count > mostGlyphs) return;
      const [middle, y] = [round(x + (column + 0.5) * cellWidth), round(tops[i] + rowHeight / 2 - side * -1.5)];
      if (side < 0) paths.below += `M${round(middle - 2.2)} ${y}h4.4l-2.2 3Z`;
      else paths.above += `M${round(middle - 2.2)} ${y}h4.4l-2.2 -3Z`;
    });
  });
  if (count > mostGlyphs) return [];
  return [
    paths.below === '' ? '' : `<path class="below" d="${paths.below}" fill="${ink}"/>`,
    paths.above === '' ? '' : `<path class="above" d="${paths.above}" fill="${background}"/>`,
  ];
}
