import { describe, expect, it } from 'vitest';
import { signFlipTest } from '../../../src/study/statistics/sign-flip.ts';

describe('sign-flip test', () => {
  it('counts every pattern of a few differences', () => {
    // All six positive: 2 of 64 patterns are as extreme.
    expect(signFlipTest([1, 1, 1, 1, 1, 1])).toEqual({ p: 2 / 64, sum: 6, informative: 6 });
    // |±2 ± 1 ± 1| is 4, 2, 2 or 0, each in two patterns.
    expect(signFlipTest([2, 1, -1]).p).toBe(6 / 8);
  });

  it('ignores differences of 0', () => {
    expect(signFlipTest([0, 1, 0, 1, 0])).toMatchObject({ informative: 2, p: 0.5 });
  });

  it('whole differences are exact, however many', () => {
    // 100 fair coins, 62 or more on one side: twice Σ C(100, k) / 2^100, k ≥ 62.
    const differences = Array.from({ length: 100 }, (_, i) => (i < 62 ? 1 : -1));
    const { p } = signFlipTest(differences);
    expect(p).toBeCloseTo(0.020978735677851718, 14);
  });

  it('sums of different sizes: every pattern counted by hand, and by convolution', () => {
    const few = [3, -2, 2, 1, 1, -5, 4];
    let extreme = 0;
    for (let pattern = 0; pattern < 2 ** few.length; pattern++) {
      const sum = few.reduce((total, value, i) => total + ((pattern >> i) & 1 ? value : -value), 0);
      if (Math.abs(sum) >= 4) extreme += 1;
    }
    expect(signFlipTest(few)).toMatchObject({ p: extreme / 2 ** few.length, sum: 4 });
  });

  it('without a difference p is 1', () => {
    expect(signFlipTest([0, 0])).toEqual({ p: 1, sum: 0, informative: 0 });
  });

  it('refuses what is not whole', () => {
    expect(() => signFlipTest([1, 0.5])).toThrow(RangeError);
  });
});
