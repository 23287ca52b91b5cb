/** What an SVG holds, as tests look at it. */
import { Resvg } from '@resvg/resvg-js';
import { expect } from 'vitest';

/** First coordinates of the paths whose attributes hold all of these. */
export function paths(svg: string, ...holding: string[]): { x: number; y: number; d: string }[] {
  return [...svg.matchAll(/<path d="([^"]*)"[^>]*>/g)]
    .filter(([whole]) => holding.every((part) => whole.includes(part)))
    .map(([, d]) => {
      const [x, y] = d
        .slice(1)
        .split(/[ MLHVahv,Z]+/, 2)
        .map(Number);
      return { x, y, d };
    });
}

/** Middles of dots whose attributes hold this. */
export function dots(svg: string, holding: string): { x: number; y: number }[] {
  return [...svg.matchAll(/<circle cx="([^"]*)" cy="([^"]*)"[^>]*>/g)]
    .filter(([whole]) => whole.includes(holding))
    .map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
}

export function rects(svg: string, holding: string): { x: number; y: number; width: number; height: number }[] {
  return [...svg.matchAll(/<rect [^>]*>/g)]
    .filter(([whole]) => whole.includes(holding))
    .map(([whole]) => {
      const of = (name: string) => Number(whole.match(new RegExp(` ${name}="([^"]*)"`))?.[1] ?? 0);
      return { x: of('x'), y: of('y'), width: of('width'), height: of('height') };
    });
}

/** Attributes of the elements of a name that have this one, in the order they are drawn. */
export function dataOf(svg: string, element: string, having: string): Record<string, string>[] {
  return [...svg.matchAll(new RegExp(`<${element} [^>]*>`, 'g'))]
    .map(([whole]) =>
      Object.fromEntries([...whole.matchAll(/ ([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value])),
    )
    .filter((attributes) => having in attributes);
}

/** Contents of the texts, as a reader sees them. */
export function texts(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, content]) =>
    content.replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))),
  );
}

/** A parser takes it, no place is a number that is none, and nothing in it runs or turns the text about. */
export function expectSafe(svg: string): void {
  expect(() => new Resvg(svg)).not.toThrow();
  const drawn = svg.replace(/aria-label="[^"]*"/, '');
  expect(drawn).not.toMatch(/(?:d|c?x|c?y|width|height|transform)="[^"]*(?:NaN|Infinity|undefined)/);
  expect(svg).not.toMatch(/<script/);
  // Ids in data attributes stay as they are: they are looked up, not read.
  const read = [svg.match(/aria-label="([^"]*)"/)?.[1] ?? '', ...texts(svg)].join('\n');
  expect(read).not.toMatch(/\u202e/);
}
