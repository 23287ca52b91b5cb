/** Pieces of SVG that figures share. */
import type { Theme } from './theme.ts';

export const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/** Definition of the hatching that marks an exact 0, as `url(#zero)`. */
export function zeroPattern({ zero, hatch }: Theme): string {
  return `<defs><pattern id="zero" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="${zero}"/><path d="M0 0V6" stroke="${hatch}" stroke-width="1.4"/></pattern></defs>`;
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
