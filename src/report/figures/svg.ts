/** Pieces of SVG that figures share. */

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

/** What a mark says of itself, for the page's readout and table: `{ relL2: 0.5 }` is `data-rel-l2="0.5"`; null is left out. */
export function dataAttributes(facts: Readonly<Record<string, string | number | null>>): string {
  return Object.entries(facts)
    .flatMap(([name, value]) =>
      value === null
        ? []
        : [`data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}="${escapeXml(String(value))}"`],
    )
    .join(' ');
}

/** Two decimals are enough for a screen. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
