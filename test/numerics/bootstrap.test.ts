/** The bootstrap against the exact distribution of small samples. */
import { expect, test } from 'vitest';
import { bootstrapRatio } from '../../src/numerics/bootstrap.ts';
import { quantile } from '../../src/numerics/quantile.ts';

test('equal units have no spread, one unit has no interval, and nothing to divide by has none', () => {
  const unit = { top: 1, bottom: 4 };
  expect(bootstrapRatio([unit, unit, unit])).toEqual({ low: 0.25, high: 0.25 });
  expect(bootstrapRatio([unit])).toBeNull();
  expect(
    bootstrapRatio([
      { top: 0, bottom: 0 },
      { top: 0, bottom: 0 },
    ]),
  ).toBeNull();
});

test('two units: each end is reached with probability 1/4, so that the 95 % interval is the range', () => {
  const units = [
    { top: 0, bottom: 1 },
    { top: 1, bottom: 1 },
  ];
  expect(bootstrapRatio(units)).toEqual({ low: 0, high: 1 });
  // 40 % of the middle leaves 30 % on each side: the quarter at each end is cut off, and the half in the middle is 1/2.
  expect(bootstrapRatio(units, { level: 0.4 })).toEqual({ low: 0.5, high: 0.5 });
});

test('a ratio of sums: units without a bottom only add to the top', () => {
  const units = Array.from({ length: 400 }, (_, i) => ({ top: i % 2, bottom: 1 }));
  const found = bootstrapRatio(units);
  // Binomial of 400 trials at 1/2: standard error 0.025.
  expect(found?.low).toBeGreaterThan(0.5 - 0.025 * 2.4);
  expect(found?.low).toBeLessThan(0.5 - 0.025 * 1.6);
  expect(found?.high).toBeGreaterThan(0.5 + 0.025 * 1.6);
  expect(found?.high).toBeLessThan(0.5 + 0.025 * 2.4);
});

test('the same units give the same interval, another seed another', () => {
  const units = Array.from({ length: 30 }, (_, i) => ({ top: (i * 7) % 11, bottom: 5 + (i % 3) }));
  expect(bootstrapRatio(units)).toEqual(bootstrapRatio(units));
  expect(bootstrapRatio(units, { seed: 1 })).not.toEqual(bootstrapRatio(units));
});

test('quantiles are linear between neighbours, whatever their order', () => {
  expect(quantile([4, 1, 2], 0)).toBe(1);
  expect(quantile([], 0.5)).toBeNaN();
  expect(quantile([1, 2, 4], 0.25)).toBe(1.5);
  expect(quantile([1, 2, 4], 1)).toBe(4);
});
