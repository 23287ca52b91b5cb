import { describe, expect, it } from 'vitest';
import { signFlipTest } from '../../../src/study/statistics/sign-flip.ts';

describe('sign-flip test', () => {
  it('counts every pattern of a few differences', () => {
    // All six positive: 2 of 64 patterns are as extreme.
    expect(signFlipTest([1, 1, 1, 1, 1, 1], 0)).toEqual({ p: 2 / 64, sum: 6, informative: 6, exact: true });
    // |±2 ± 1 ± 1| is 4, 2, 2 or 0, each in two patterns.
    expect(signFlipTest([2, 1, -1], 0).p).toBe(6 / 8);
  });

  it('ignores differences of 0', () => {
    expect(signFlipTest([0, 1, 0, 1, 0], 0)).toMatchObject({ informative: 2, p: 0.5 });
  });

  it('sampled p agrees with the normal approximation', () => {
    const differences = Array.from({ length: 100 }, (_, i) => (i < 62 ? 1 : -1));
    const { p, exact } = signFlipTest(differences, 7, 40_000);
    expect(exact).toBe(false);
    // Sum 24, z with continuity correction (24 − 1) / 10 = 2.3: p ≈ 0.0214.
    expect(p).toBeGreaterThan(0.018);
    expect(p).toBeLessThan(0.025);
  });

  it('is the same for the same seed', () => {
    const differences = Array.from({ length: 40 }, (_, i) => Math.sin(i) + 0.3);
    expect(signFlipTest(differences, 3, 500)).toEqual(signFlipTest(differences, 3, 500));
  });
});
