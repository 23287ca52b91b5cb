/** Lines of text that fit a terminal: wrapping, padding, safe token text, plain ASCII. */
import { stripVTControlCharacters } from 'node:util';
import { columnsOf, visibleCharacters } from '../visible.ts';

/** What the terminal can show. */
export interface TerminalOptions {
  /** Width to wrap at. */
  columns: number;
  /** Colour the marks. */
  color: boolean;
  /** False (TERM=dumb): ASCII, bins as digits 0–7. */
  unicode: boolean;
}

/** Put `parts` on lines of at most `columns`, separated by `separator`; every line but the first starts with `indent`. */
export function flow(
  parts: readonly string[],
  columns: number,
  { first = '', indent = '', separator = ' ' }: { first?: string; indent?: string; separator?: string } = {},
): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const part of parts) {
    if (!empty && displayWidth(line + separator + part) > columns) {
      lines.push(line.trimEnd());
      line = indent;
      empty = true;
    }
    line += empty ? part : separator + part;
    empty = false;
  }
  lines.push(line.trimEnd());
  return lines;
}

/** Wrap a sentence at its spaces. */
export function wrap(text: string, columns: number, options: { first?: string; indent?: string } = {}): string[] {
  return flow(text.split(' '), columns, options);
}

/** Left-align, by what is seen. */
export function padRight(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

/** Right-align, by what is seen. */
export function padLeft(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text;
}

/** Columns a text takes: wide characters count two, combining ones and colours none. */
export function displayWidth(text: string): number {
  return columnsOf(stripVTControlCharacters(text));
}

/** Token text as it may be printed: spaces and line breaks visible, nothing that could steer the terminal. */
export function visible(text: string, width = Number.POSITIVE_INFINITY): string {
  const shown = visibleCharacters(text);
  if (displayWidth(shown.join('')) <= width) return shown.join('');
  let cut = '';
  for (const part of shown) {
    if (displayWidth(cut + part) > width - 1) break;
    cut += part;
  }
  return `${cut}…`;
}

const ascii: Record<string, string> = {
  '·': '.',
  '▁': '0',
  '▂': '1',
  '▃': '2',
  '▄': '3',
  '▅': '4',
  '▆': '5',
  '▇': '6',
  '█': '7',
  // Ends of bars, in eighths.
  '▏': '0',
  '▎': '1',
  '▍': '2',
  '▌': '3',
  '▋': '4',
  '▊': '5',
  '▉': '6',
  '▴': '^',
  '‖': '|',
  δ: 'd',
  '’': "'",
  '░': '-',
  '▒': '=',
  '▓': '#',
  '✓': '+',
  '✗': 'x',
  '○': 'o',
  '▾': 'v',
  '∅': 'n',
  '≈': '~',
  '–': '-',
  '−': '-',
  '×': 'x',
  '≤': '<=',
  '≥': '>=',
  '…': '..',
  '␣': '_',
  '⏎': '$',
  '⇥': '>',
  '∞': 'inf',
  '→': '->',
  '⊙': '*',
  ᵀ: '^T',
  Σ: 'sum ',
};

/** The same text for a terminal that shows ASCII only; letters of tokens stay what they are. */
export function toAscii(text: string): string {
  return text.replaceAll(/[^\n -~]/gu, (character) => ascii[character] ?? character);
}

/** Names as they may be printed, their spaces kept. */
export function visibleWords(text: string): string {
  return text
    .split(' ')
    .map((word) => visible(word))
    .join(' ');
}
