import { describe, expect, it } from 'vitest';
import { largestUnseen, mapped, measuredRatio, measuredShare } from '../../../src/study/statistics/measured.ts';

describe('measured figures', () => {
  it('a ratio of sums, without an interval for a single prompt', () => {
    expect(measuredRatio([{ top: 1, bottom: 4 }])).toEqual({ value: 0.25, lower: null, upper: null });
    const units = Array.from({ length: 40 }, (_, i) => ({ top: i % 4, bottom: 10 }));
    const found = measuredRatio(units)!;
    expect(found.value).toBe(0.15);
    expect(found.lower!).toBeLessThan(0.15);
    expect(found.upper!).toBeGreaterThan(0.15);
  });

  it('is null without anything to divide by, and where a sum is not a number', () => {
    expect(measuredRatio([])).toBeNull();
    expect(measuredRatio([{ top: 0, bottom: 0 }])).toBeNull();
    expect(
      measuredRatio([
        { top: Number.NaN, bottom: 1 },
        { top: 1, bottom: 1 },
      ]),
    ).toBeNull();
    expect(
      measuredRatio([
        { top: Infinity, bottom: 1 },
        { top: 1, bottom: 1 },
      ]),
    ).toBeNull();
  });

  it('a NaN that came back from JSON as null is not averaged as 0', () => {
    const units = [
      { top: Number.NaN, bottom: 1 },
      { top: 1, bottom: 1 },
    ];
    expect(measuredRatio(JSON.parse(JSON.stringify(units)))).toBeNull();
  });

  it('zero events: n = 59 leaves 5 %, and 3/n is its approximation', () => {
    expect(measuredShare(0, 59).upper).toBeCloseTo(0.0495, 4);
    expect(1 - (1 - largestUnseen(1_000)) ** 1_000).toBeCloseTo(0.95, 12);
    expect(largestUnseen(100_000) * 100_000).toBeCloseTo(2.9957, 3);
    expect(measuredShare(0, 0)).toEqual({ value: 0, lower: 0, upper: 1 });
  });

  it('a decreasing map changes the ends over, one without a value has no figure', () => {
    expect(mapped({ value: 0.2, lower: 0.1, upper: 0.4 }, (x) => 1 - x)).toEqual({
      value: 0.8,
      lower: 0.6,
      upper: 0.9,
    });
    expect(mapped({ value: 0, lower: 0, upper: 0.1 }, Math.log10)).toBeNull();
    expect(mapped({ value: 0.1, lower: 0, upper: 1 }, Math.log10)).toEqual({ value: -1, lower: null, upper: null });
  });
});
