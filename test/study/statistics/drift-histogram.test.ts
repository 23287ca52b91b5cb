import { describe, expect, it } from 'vitest';
import { DriftHistogram } from '../../../src/study/statistics/drift-histogram.ts';
import { binUpper, driftBin, zeroBin } from '../../../src/study/unit/unit-summary.ts';

const of = (...pairs: [number, number][]) => {
  const histogram = new DriftHistogram();
  for (const pair of pairs) histogram.add([pair]);
  return histogram;
};

describe('the placebo’s extreme drift', () => {
  it('is the upper edge of the bin that holds the 99.9 % quantile', () => {
    const [small, large] = [driftBin(0.01), driftBin(2)];
    // 999 of 1,000 lie below; with one more large value the 999th of 1,000 is large.
    expect(of([small, 999], [large, 1]).extreme).toBe(binUpper(small));
    expect(of([small, 998], [large, 2]).extreme).toBe(binUpper(large));
    expect(of([large, 2], [small, 1_998]).extreme).toBe(binUpper(small));
  });

  it('adds up what units say of the same bin, whatever their order', () => {
    const [small, large] = [driftBin(0.01), driftBin(2)];
    expect(of([small, 500], [large, 1], [small, 499]).extreme).toBe(binUpper(small));
    expect(of([small, 500], [large, 1], [small, 499]).samples).toBe(1_000);
  });

  it('is 0 where nothing leans, and null without a value', () => {
    expect(of([zeroBin, 10]).extreme).toBe(0);
    expect(new DriftHistogram().extreme).toBeNull();
  });

  it('of a few values it is the largest', () => {
    expect(of([driftBin(0.5), 3], [driftBin(4), 1]).extreme).toBe(binUpper(driftBin(4)));
    expect(binUpper(driftBin(4))).toBeGreaterThanOrEqual(4);
  });
});
