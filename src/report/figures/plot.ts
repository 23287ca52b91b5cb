/** Pieces that plots share: axes, the strip of exact zeros, marks, and labels that keep clear of each other. */
import type { Scale } from './scale.ts';
import { dataAttributes, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

/** The part of a plot that marks lie in. */
export interface Area {
  x: number;
  y: number;
  width: number;
  height: number;
}

export const tickSize = 12;
export const noteSize = 12;

/** A tick: `0.01`, `1e-4`, `50`, with a true minus. */
export function tickText(value: number): string {
  const magnitude = Math.abs(value);
  const plain = magnitude === 0 || (magnitude >= 0.01 && magnitude < 1e5);
  const written = plain ? String(magnitude) : magnitude.toExponential().replace('e+', 'e');
  return value < 0 ? `−${written}` : written;
}

/** Lines across at the ticks of an upward axis, and their labels on the left. */
export function acrossGrid({ x, width }: Area, scale: Scale, theme: Theme, label = tickText): string[] {
  return scale.ticks.flatMap((tick) => {
    const y = round(scale.at(tick));
    return [
      `<path d="M${round(x)} ${y}h${round(width)}" stroke="${theme.grid}" stroke-width="1"/>`,
      tickLabel(x - 8, y + 4, label(tick), theme, 'end'),
    ];
  });
}

/** Labels of the ticks of an axis along the bottom, at a height. */
export function bottomTicks(y: number, scale: Scale, theme: Theme, label = tickText): string[] {
  return scale.ticks.map((tick) => tickLabel(scale.at(tick), y, label(tick), theme, 'middle'));
}

export function tickLabel(x: number, y: number, content: string, { ink2 }: Theme, anchor: 'start' | 'middle' | 'end') {
  return text(round(x), round(y), content, ink2, `font-size="${tickSize}" text-anchor="${anchor}"`);
}

/** Where exact zeros are, beside a logarithmic axis. */
export function zeroStrip({ x, y, width, height }: Area): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" fill="url(#kvl-zero)"/>`;
}

/** More marks than these are not read one by one: they would make a page slow and large. */
export const mostReadable = 2000;

/** An area over what is drawn that the pointer and the keyboard read. @param facts what it says of itself */
export function readable(
  { x, y, width, height }: Area,
  facts: Readonly<Record<string, string | number | null>>,
  radius = 0,
): string {
  const corner = radius === 0 ? '' : ` rx="${round(radius)}"`;
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"${corner} fill="none" pointer-events="all" ${dataAttributes(facts)}/>`;
}

/** Text that stays legible over lines and marks. */
export function haloText(
  x: number,
  y: number,
  content: string,
  { theme, fill = theme.ink, anchor = 'start', weight = 600, turn = 0 }: HaloOptions,
): string {
  const turned = turn === 0 ? '' : ` transform="rotate(${round(turn)} ${round(x)} ${round(y)})"`;
  const halo = `paint-order="stroke" stroke="${theme.background}" stroke-width="3" stroke-linejoin="round"`;
  return text(
    round(x),
    round(y),
    content,
    fill,
    `font-size="${noteSize}" font-weight="${weight}" text-anchor="${anchor}" ${halo}${turned}`,
  );
}

interface HaloOptions {
  theme: Theme;
  fill?: string;
  anchor?: 'start' | 'middle' | 'end';
  weight?: number;
  /** Degrees, clockwise, about the text's place. */
  turn?: number;
}

export type Shape = 'circle' | 'square' | 'diamond' | 'triangle' | 'down' | 'cross';

/** Outline of a mark about a place, `size` from its middle to its edge. */
export function shapePath(shape: Shape, x: number, y: number, size: number): string {
  const [r, s] = [round(size), round(size * 2)];
  const at = (dx: number, dy: number) => `${round(x + dx)} ${round(y + dy)}`;
  switch (shape) {
    case 'circle':
      return `M${at(-r, 0)}a${r} ${r} 0 1 0 ${s} 0a${r} ${r} 0 1 0 ${-s} 0Z`;
    case 'square':
      return `M${at(-r, -r)}h${s}v${s}h${-s}Z`;
    case 'diamond':
      return `M${at(0, -r * 1.35)}L${at(r, 0)}L${at(0, r * 1.35)}L${at(-r, 0)}Z`;
    case 'triangle':
      return `M${at(0, -r * 1.15)}L${at(r * 1.1, r * 0.85)}H${round(x - r * 1.1)}Z`;
    case 'down':
      return `M${at(0, r * 1.15)}L${at(r * 1.1, -r * 0.85)}H${round(x - r * 1.1)}Z`;
    case 'cross':
      return `M${at(-r, -r)}L${at(r, r)}M${at(-r, r)}L${at(r, -r)}`;
  }
}

/** Shapes of kernels: they are told apart by shape and label, never by hue. */
export const kernelShapes: readonly Shape[] = ['circle', 'diamond', 'square', 'triangle', 'down'];

/** Of a series by the type it is stored in: a colour of the precision's own. */
export function precisionColor(precision: string, theme: Theme): string {
  if (precision.startsWith('bf16')) return theme.bf16;
  return precision.startsWith('fp16') ? theme.fp16 : theme.fp32;
}

/**
 * Places for labels that want to be at given heights: at least `gap` apart, within the ends where they all fit, in the same
 * order, and no further off than that asks for.
 */
export function spread(wanted: readonly number[], gap: number, [low, high]: readonly [number, number]): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b] || a - b);
  // Runs of labels that touch, each centred on what its members want (pool adjacent violators).
  const runs: { members: number[]; start: number }[] = [];
  const settle = (members: number[]) => {
    const centred = members.reduce((sum, each, i) => sum + wanted[each] - i * gap, 0) / members.length;
    return Math.min(Math.max(centred, low), Math.max(low, high - (members.length - 1) * gap));
  };
  for (const each of order) {
    let run = { members: [each], start: settle([each]) };
    for (let last = runs.at(-1); last && last.start + last.members.length * gap > run.start; last = runs.at(-1)) {
      const members = [...last.members, ...run.members];
      run = { members, start: settle(members) };
      runs.pop();
    }
    runs.push(run);
  }
  const found = [...wanted];
  for (const { members, start } of runs) {
    members.forEach((each, i) => {
      found[each] = start + i * gap;
    });
  }
  return found;
}

/** Estimated width of a text, for what has to keep clear of it. */
export function textWidth(content: string, size = noteSize): number {
  return content.length * size * 0.56;
}

/** A name from a file: nothing in it steers the reader's eye or the text about it, and it has an end. */
export function shownName(name: string, most = 40): string {
  const shown = [...name].map((character) =>
    /[\p{Control}\p{Format}\p{Surrogate}\u2028\u2029]/u.test(character)
      ? `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`
      : character,
  );
  return shown.length <= most ? shown.join('') : `${shown.slice(0, most - 1).join('')}…`;
}

/** Key of the shapes of kernels: one line, from the left. */
export function shapeKey(names: readonly string[], y: number, theme: Theme): string[] {
  let x = 0;
  return names.flatMap((name, i) => {
    const label = shownName(name, 30);
    const parts = [
      `<path d="${shapePath(kernelShapes[i % kernelShapes.length], x + 5, y - 4, 4)}" fill="${theme.ink2}"/>`,
      text(round(x + 14), y, label, theme.ink2, `font-size="${noteSize}"`),
    ];
    x += 14 + textWidth(label) + 20;
    return parts;
  });
}

/** A line of text within a figure, of notes and names of panels. */
export function panelName(x: number, y: number, name: string, { ink }: Theme): string {
  return text(round(x), y, name, ink, 'font-size="12.5" font-weight="620"');
}

/** Many dots that look alike, and say what they are in attributes of their own. */
export function dotGroup(dots: readonly { x: number; y: number; data: string }[], size: number, look: string): string {
  const marks = dots.map(({ x, y, data }) => `<circle cx="${round(x)}" cy="${round(y)}" r="${size}" ${data}/>`);
  return marks.length === 0 ? '' : `<g ${look}>${marks.join('')}</g>`;
}
