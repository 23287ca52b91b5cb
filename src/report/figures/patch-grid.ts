/**
 * Patching results as heat maps: layers down, tokens across, one panel per patched hook. Colour is a signed value such as
 * recovery, centred on 0 and symmetric; hatching marks cells whose patch changes no bit.
 */
import { cellStates } from '../data/layer-map.ts';
import { tokenText } from '../visible.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { mapBody } from './map-body.ts';
import type { GridCell } from './map-grid.ts';
import { mapLegend } from './map-legend.ts';
import { signedColorScale } from './map-measure.ts';
import { mostReadable, readable } from './plot.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Palette, Theme } from './theme.ts';

/** One panel: values by layer and column; null where the patch changes nothing. */
export interface GridPanel {
  title: string;
  /** What the rows are, from the top: for example `L0`, `L1`. */
  rows: readonly string[];
  values: readonly (readonly (number | null)[])[];
}

/** A column: a token, and the one that stands there in the clean prompt where it is another. */
export interface GridColumn {
  label: string;
  clean?: string;
}

/** A patching result to draw: panels of rows by columns, and what their colours mean. */
export interface PatchGrid {
  title: string;
  /** What is drawn and on what scale. */
  subtitle: string;
  columns: readonly GridColumn[];
  /** At least one. */
  panels: readonly GridPanel[];
  /** What the colours mean, and the value they end at. */
  scale: { label: string; limit: number; below: string; above: string };
  /** What the figure shows, after its title, for those who do not see it. */
  shows: string;
}

/** Colours of recoveries: 0 as the corrupted run, 1 as the clean one. */
export const recoveryScale: PatchGrid['scale'] = {
  ...{ label: 'recovery: 0 as the corrupted run, 1 as the clean run', limit: 1 },
  ...{ below: '≤ −1', above: '≥ 1' },
};

const left = 34;
const right = 4;
const cellHeight = 17;
const panelGap = 40;
const longestToken = 20;

/** Draw the panels below each other, over one axis of tokens or heads. */
export function patchGridFigure(grid: PatchGrid, options: FigureOptions = {}): Figure {
  const { columns, panels, scale } = grid;
  return frame(grid, options, (palette, width) => {
    const colors = signedColorScale(scale.limit, scale.below, scale.above);
    const framed = columns.some(({ clean }) => clean !== undefined);
    const keys = {
      scale: colors,
      zero: 'the patch changes no bit',
      note: scale.label,
      nan: hasState(panels, Number.isNaN),
    };
    const legend = mapLegend(
      0,
      width,
      {
        ...keys,
        infinite: hasState(panels, isInfinite),
        ...(framed ? { framed: 'the tokens differ: clean → corrupted' } : {}),
      },
      palette,
    );
    const cell = (width - left - right) / columns.length;
    // A file and a notebook have no readout.
    const cells = panels.reduce((sum, { rows }) => sum + rows.length * columns.length, 0);
    const read = options.framed === false && cells <= mostReadable;
    let y = legend.height + 24;
    const parts = panels.flatMap((panel) => {
      const top = y;
      y += panel.rows.length * cellHeight + panelGap;
      return [
        ...panelParts(panel, top, cell, grid, palette),
        ...(read ? readableCells(panel, top, cell, columns) : []),
      ];
    });
    const bottom = y - panelGap;
    const longest = Math.max(...columns.map((column) => [...columnText(column)].length));
    const labels = columns.map((column, i) => columnLabel(column, left + (i + 0.5) * cell, bottom + 12, palette.theme));
    return { height: bottom + 16 + longest * 6.6, parts: [...legend.parts, ...parts, ...labels] };
  });
}

function panelParts(
  { title, rows, values }: GridPanel,
  top: number,
  cell: number,
  { columns, scale }: PatchGrid,
  palette: Palette,
): string[] {
  const { theme } = palette;
  const colors = signedColorScale(scale.limit, scale.below, scale.above);
  const tops = rows.map((_, i) => top + i * cellHeight);
  const place = { x: left, tops, rowHeight: cellHeight, cellWidth: cell, pixel: cellHeight };
  const height = rows.length * cellHeight;
  return [
    text(left, top - 9, title, theme.ink, 'font-size="13" font-weight="620"'),
    ...mapBody(
      values.map((row) => row.map(cellOf)),
      place,
      colors,
      palette,
    ),
    ...rows.map((label, i) => text(left - 8, tops[i] + 12.5, label, theme.ink2, 'font-size="11" text-anchor="end"')),
    `<rect x="${left}" y="${top}" width="${round(columns.length * cell)}" height="${height}" fill="none" stroke="${theme.rule}"/>`,
    ...frames(columns, cell, top, height, theme.ink),
  ];
}

function readableCells({ title, rows, values }: GridPanel, top: number, cell: number, columns: readonly GridColumn[]) {
  return values.flatMap((row, i) =>
    row.map((value, j) =>
      readable(
        { x: left + j * cell, y: top + i * cellHeight, width: cell, height: cellHeight },
        {
          ...{ patch: title, row: rows[i], column: columnText(columns[j]) },
          value: value ?? '∅ nothing changed, or nothing to recover',
        },
      ),
    ),
  );
}

/** A patch without effect has no value: hatched, as an exact 0 of other maps. */
function cellOf(value: number | null): GridCell {
  if (value === null) return { state: cellStates.zero, value: Number.NaN, zeros: 1 };
  const state = Number.isNaN(value) ? cellStates.nan : isInfinite(value) ? cellStates.infinite : cellStates.finite;
  return { state, value, zeros: 0 };
}

function isInfinite(value: number): boolean {
  return Math.abs(value) === Infinity;
}

function hasState(panels: readonly GridPanel[], is: (value: number) => boolean): boolean {
  return panels.some(({ values }) => values.some((row) => row.some((value) => value !== null && is(value))));
}

/** The token below the plot, turned. */
function columnLabel(column: GridColumn, middle: number, y: number, { ink, ink2 }: Theme): string {
  const [fill, weight] = column.clean === undefined ? [ink2, 400] : [ink, 660];
  const place = `transform="translate(${round(middle + 4)} ${y}) rotate(-90)" text-anchor="end"`;
  return `<text ${place} fill="${fill}" font-size="11" font-weight="${weight}">${escapeXml(columnText(column))}</text>`;
}

/** Frames around neighbouring columns whose tokens differ. */
function frames(columns: readonly GridColumn[], cell: number, top: number, height: number, ink: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < columns.length; from++) {
    if (columns[from].clean === undefined) continue;
    let to = from + 1;
    while (to < columns.length && columns[to].clean !== undefined) to++;
    const place = `x="${round(left + from * cell)}" y="${top}" width="${round((to - from) * cell)}" height="${height}"`;
    parts.push(`<rect class="differs" ${place} fill="none" stroke="${ink}"/>`);
    from = to;
  }
  return parts;
}

function columnText({ label, clean }: GridColumn): string {
  const shown = tokenText(label, longestToken);
  return clean === undefined ? shown : `${tokenText(clean, longestToken)} → ${shown}`;
}
