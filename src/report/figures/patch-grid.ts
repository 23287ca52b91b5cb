/**
 * Patching results as heat maps: layers down, tokens across, one panel per patched hook. Colour is a signed value such as
 * recovery, centred on 0 and symmetric; hatching marks cells whose patch changes no bit.
 */
import { escapeXml, figure, round, text } from './svg.ts';
import { divergingColor, type Theme } from './theme.ts';

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

export interface GridOptions {
  title: string;
  /** What is drawn and on what scale; lines. */
  subtitle: readonly string[];
  columns: readonly GridColumn[];
  panels: readonly GridPanel[];
  /** What the colours mean, and the value they end at. */
  scale: { label: string; limit: number; below: string; above: string };
  /** Says the finding, for those who do not see the figure. */
  alternative: string;
  theme: Theme;
  width: number;
}

const left = 64;
const right = 36;
const cellHeight = 17;
const panelGap = 40;

/** The figure as an SVG document. */
export function patchGrid(options: GridOptions): string {
  const { title, subtitle, columns, panels, alternative, theme, width } = options;
  const legendTop = 58 + subtitle.length * 20;
  const firstPanel = legendTop + 74;
  const cell = (width - left - right) / columns.length;
  const x = (column: number) => round(left + column * cell);
  const tops: number[] = [];
  let y = firstPanel;
  for (const { rows } of panels) {
    tops.push(y);
    y += rows.length * cellHeight + panelGap;
  }
  const plotBottom = y - panelGap;
  const longest = Math.max(...columns.map((column) => columnText(column).length));
  const height = Math.ceil(plotBottom + 24 + longest * 7.4);
  const parts = [
    ...legend(options, legendTop + 10),
    ...panels.flatMap((panel, i) => panelParts(panel, tops[i], x, cell, options)),
    ...columns.map((column, i) => columnLabel(column, round(x(i) + cell / 2), plotBottom + 12, theme)),
  ];
  return figure({ title, alternative, theme, width, height }, subtitle, parts);
}

function panelParts(
  { title, rows, values }: GridPanel,
  top: number,
  x: (column: number) => number,
  cell: number,
  { theme, scale, columns }: GridOptions,
): string[] {
  const end = x(columns.length);
  const fills = new Map<string, string>();
  values.forEach((row, i) => {
    const y = top + i * cellHeight;
    row.forEach((value, column) => {
      const fill = value === null ? 'url(#zero)' : valueColor(value, scale.limit, theme);
      const path = `M${x(column)} ${y}h${round(cell)}v${cellHeight}h${round(-cell)}Z`;
      fills.set(fill, (fills.get(fill) ?? '') + path);
    });
  });
  return [
    text(left, top - 9, title, theme.ink, 'font-size="13" font-weight="620"'),
    ...[...fills].map(([fill, path]) => `<path d="${path}" fill="${fill}" shape-rendering="crispEdges"/>`),
    ...rows.map((label, i) =>
      text(left - 8, top + i * cellHeight + 12.5, label, theme.ink2, 'font-size="11" text-anchor="end"'),
    ),
    `<rect x="${left}" y="${top}" width="${round(end - left)}" height="${values.length * cellHeight}" fill="none" stroke="${theme.rule}"/>`,
    ...frames(columns, x, top, values.length * cellHeight, theme.ink),
  ];
}

function valueColor(value: number, limit: number, theme: Theme): string {
  return Number.isFinite(value) ? divergingColor(theme, value, limit) : theme.bad;
}

/** The token below the plot, turned. */
function columnLabel(column: GridColumn, middle: number, y: number, { ink, ink2 }: Theme): string {
  const [fill, weight] = column.clean === undefined ? [ink2, 400] : [ink, 660];
  const place = `transform="translate(${round(middle + 4)} ${y}) rotate(-90)" text-anchor="end"`;
  return `<text ${place} fill="${fill}" font-size="11" font-weight="${weight}">${escapeXml(columnText(column))}</text>`;
}

/** Frames around neighbouring columns whose tokens differ. */
function frames(
  columns: readonly GridColumn[],
  x: (column: number) => number,
  top: number,
  height: number,
  ink: string,
) {
  const parts: string[] = [];
  for (let from = 0; from < columns.length; from++) {
    if (columns[from].clean === undefined) continue;
    let to = from + 1;
    while (to < columns.length && columns[to].clean !== undefined) to++;
    const width = round(x(to) - x(from));
    parts.push(`<rect x="${x(from)}" y="${top}" width="${width}" height="${height}" fill="none" stroke="${ink}"/>`);
    from = to;
  }
  return parts;
}

function columnText({ label, clean }: GridColumn): string {
  return clean === undefined ? label : `${clean} → ${label}`;
}

function legend({ theme, scale }: GridOptions, top: number): string[] {
  const width = 240;
  const classes = 48;
  const bar = Array.from({ length: classes }, (_, i) => {
    const value = ((i + 0.5) / classes) * 2 * scale.limit - scale.limit;
    const x = round(left + (i * width) / classes);
    return `<rect x="${x}" y="${top}" width="${round(width / classes + 0.4)}" height="11" fill="${divergingColor(theme, value, scale.limit)}"/>`;
  });
  const tick = (x: number, label: string, anchor: string) =>
    text(x, top + 25, label, theme.ink2, `font-size="10.5" text-anchor="${anchor}"`);
  const keys = left + width + 34;
  return [
    ...bar,
    `<rect x="${left}" y="${top}" width="${width}" height="11" fill="none" stroke="${theme.rule}"/>`,
    tick(left, scale.below, 'start'),
    tick(left + width / 2, '0', 'middle'),
    tick(left + width, scale.above, 'end'),
    text(keys, top + 9.5, scale.label, theme.ink2, 'font-size="12"'),
    `<rect x="${keys}" y="${top + 16}" width="22" height="11" fill="url(#zero)"/>`,
    text(keys + 29, top + 25.5, 'the patch changes no bit', theme.ink2, 'font-size="12"'),
    `<rect x="${keys + 196}" y="${top + 16}" width="22" height="11" fill="none" stroke="${theme.ink}"/>`,
    text(keys + 225, top + 25.5, 'the tokens differ: clean → corrupted', theme.ink2, 'font-size="12"'),
  ];
}
