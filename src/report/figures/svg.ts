/** Pieces of SVG that figures share. */
import type { Theme } from './theme.ts';

const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/** Definition of the hatching that marks an exact 0, as `url(#zero)`. */
function zeroPattern({ zero, hatch }: Theme): string {
  return `<defs><pattern id="zero" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="${zero}"/><path d="M0 0V6" stroke="${hatch}" stroke-width="1.4"/></pattern></defs>`;
}

/** A whole figure: background, title and the parts over it; `alternative` says the finding to those who do not see it. */
export function figure(
  { width, height, title, alternative, theme }: FigureFrame,
  subtitle: readonly string[],
  parts: readonly string[],
): string {
  const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escapeXml(alternative)}" font-family="${fontFamily}">`,
    zeroPattern(theme),
    `<rect width="${width}" height="${height}" fill="${theme.background}"/>`,
    text(36, 44, title, theme.ink, 'font-size="24" font-weight="640"'),
    ...subtitle.map((line, i) => text(36, 74 + i * 20, line, theme.ink2, 'font-size="13.5"')),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

/** What frames a figure. */
export interface FigureFrame {
  title: string;
  alternative: string;
  theme: Theme;
  width: number;
  height: number;
}

/** One line of text; `content` is escaped. */
export function text(x: number, y: number, content: string, fill: string, attributes: string): string {
  return `<text x="${x}" y="${y}" fill="${fill}" ${attributes}>${escapeXml(content)}</text>`;
}

/** Text for a document: markup is escaped, and what XML has no way to write is shown as U+FFFD. */
export function escapeXml(content: string): string {
  return content
    .replaceAll(/[\p{Control}\p{Surrogate}\uFFFE\uFFFF]/gu, '\uFFFD')
    .replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Two decimals are enough for a screen. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
