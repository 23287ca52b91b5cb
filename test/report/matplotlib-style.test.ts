/** The matplotlib twin of the figures says what their theme says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { matplotlibFiles } from '../../scripts/matplotlib-style.mts';
import { packageRoot } from '../../src/checkpoint/embedded.ts';
import { themes } from '../../src/report/figures/theme.ts';

const read = (name: string) => readFileSync(join(packageRoot(), 'notebooks', name), 'utf8');

test.each(Object.entries(matplotlibFiles()))(
  'notebooks/%s is up to date (npx tsx scripts/matplotlib-style.mts writes it)',
  (name, content) => {
    expect(read(name)).toBe(content);
  },
);

test('the drift colours run from one end of the sequential scale to the other, from 0.03 to 30 u, in even steps of the logarithm', () => {
  const [head, ...rows] = read('kvlens-drift.csv').trim().split('\n');
  expect(head).toBe('u,light,dark');
  const cells = rows.map((row) => row.split(','));
  const drifts = cells.map(([u]) => Number(u));
  expect([drifts[0], drifts[drifts.length - 1]]).toEqual([0.03, 30]);
  const ratios = drifts.slice(1).map((drift, i) => drift / drifts[i]);
  for (const ratio of ratios) expect(ratio).toBeCloseTo(1000 ** (1 / (rows.length - 1)), 4);
  for (const [column, { sequence }] of [
    [1, themes.light],
    [2, themes.dark],
  ] as const) {
    const ends = [cells[0][column], cells[cells.length - 1][column]];
    expect(ends.map((color) => color.toUpperCase())).toEqual([sequence[0], sequence[sequence.length - 1]]);
  }
});

test('a style names no colour that is not in its theme', () => {
  for (const [name, theme] of [
    ['kvlens.mplstyle', themes.light],
    ['kvlens-dark.mplstyle', themes.dark],
  ] as const) {
    const known = Object.values(theme).flat();
    const named = [...read(name).matchAll(/\b[0-9A-F]{6}\b/g)].map(([color]) => `#${color}`);
    expect(named.length).toBeGreaterThan(10);
    for (const color of named) expect(known).toContain(color);
  }
});
