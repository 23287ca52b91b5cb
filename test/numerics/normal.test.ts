import { describe, expect, it } from 'vitest';
import { normalDistribution } from '../../src/numerics/normal.ts';

describe('normal distribution', () => {
  // To 50 digits in arbitrary precision (Φ(x) = erfc(−x/√2)/2), rounded.
  it.each([
    [-37, 5.725571222524577e-300],
    [-10, 7.619853024160525e-24],
    [-6, 9.865876450376983e-10],
    [-3, 0.0013498980316300946],
    [-2.5, 0.006209665325776135],
    [-1, 0.15865525393145705],
    [0, 0.5],
    [0.5, 0.6914624612740131],
    [1.959963984540054, 0.975],
    [3, 0.9986501019683699],
  ])('Φ(%f) to twelve digits', (x, expected) => {
    expect(Math.abs(normalDistribution(x) / expected - 1)).toBeLessThan(1e-12);
  });

  it('both formulas agree where one takes over from the other', () => {
    const [inside, outside] = [-2.5 + 1e-12, -2.5 - 1e-12].map(normalDistribution);
    // φ(2.5) · 2e-12 apart, and nothing else.
    expect(Math.abs(inside - outside - 0.0175283 * 2e-12)).toBeLessThan(1e-15);
  });

  it('has its limits', () => {
    expect([-Infinity, Infinity, Number.NaN].map(normalDistribution)).toEqual([0, 1, Number.NaN]);
  });
});
