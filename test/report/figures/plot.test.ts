/** What plots share, and that all of it runs where there is no Node. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shapePath, shownName, spread, tickText } from '../../../src/report/figures/plot.ts';

describe('labels that keep clear of each other', () => {
  test('stay where they want to be if that is clear', () => {
    expect(spread([10, 50, 30], 10, [0, 100])).toEqual([10, 50, 30]);
  });

  test('move apart about what they want, no further than a gap, and keep their order', () => {
    expect(spread([50, 50], 10, [0, 100])).toEqual([45, 55]);
    expect(spread([50, 52, 90], 10, [0, 100])).toEqual([46, 56, 90]);
  });

  test('stay within the ends where they fit', () => {
    const found = spread([1, 2, 3, 99], 20, [0, 100]);
    expect(found).toEqual([0, 20, 40, 99]);
    expect(spread([98, 99, 100], 20, [0, 100])).toEqual([60, 80, 100]);
  });

  test('are at least a gap apart, whatever they want', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const wanted = Array.from({ length: 8 }, (_, i) => (seed * 7919 * (i + 3)) % 101);
      const sorted = spread(wanted, 9, [0, 100]).sort((a, b) => a - b);
      for (let i = 1; i < sorted.length; i++) expect(sorted[i] - sorted[i - 1]).toBeGreaterThanOrEqual(9 - 1e-9);
    }
  });
});

test('ticks are plain where people read them so, else powers', () => {
  expect([0, 0.01, 0.001, 1e-7, 50, 1e5, -2].map(tickText)).toEqual(['0', '0.01', '1e-3', '1e-7', '50', '1e5', '−2']);
});

test('names are cut, and what steers a reader is written out', () => {
  expect(shownName('a\u202eb')).toBe('a\\x202eb');
  expect([...shownName('x'.repeat(100), 10)]).toHaveLength(10);
});

test('a mark is centred on its place', () => {
  for (const shape of ['square', 'diamond', 'cross', 'circle'] as const) {
    const [x, y] = shapePath(shape, 10, 20, 4)
      .slice(1)
      .split(/[ MLHVahv]+/, 2)
      .map(Number);
    expect(Math.max(Math.abs(x - 10), Math.abs(y - 20))).toBeGreaterThan(0);
    expect(Math.abs(x - 10)).toBeLessThanOrEqual(4);
    expect(Math.abs(y - 20)).toBeLessThanOrEqual(5.4);
  }
});

/** Files that a file needs when it runs, and theirs. */
function imports(file: string, seen: Map<string, string>): void {
  const source = readFileSync(file, 'utf8');
  for (const [, from] of source.matchAll(/^(?:import|export) (?!type\b)[^;]*? from '([^']+)'/gm)) {
    const found = from.startsWith('.') ? resolve(dirname(file), from) : from;
    if (seen.has(found)) continue;
    seen.set(found, file);
    if (existsSync(found)) imports(found, seen);
  }
}

test('figures run in a browser: nothing they need is of Node', () => {
  const names = [
    ...['margin-drift', 'survival', 'two-by-two', 'recovery', 'precision-ladder', 'oracle'],
    ...['flip-prediction', 'accuracy', 'verdict-table', 'temperature'],
    ...['drift-map', 'first-operation', 'inherited-added', 'cache-map'],
  ];
  const folder = resolve('src/report');
  const needed = new Map<string, string>();
  for (const part of ['data', 'figures']) {
    const files = readdirSync(join(folder, part));
    for (const name of names) {
      expect(files).toContain(`${name}.ts`);
      imports(join(folder, part, `${name}.ts`), needed);
    }
  }
  for (const name of ['thumbnails', 'patch-grid']) imports(join(folder, 'figures', `${name}.ts`), needed);
  // Enough to have seen something: statistics, numerics, Arrow.
  expect(needed.size).toBeGreaterThan(20);
  expect([...needed.keys()]).toContain('apache-arrow');
  expect([...needed].filter(([module]) => module.startsWith('node:'))).toEqual([]);
});
