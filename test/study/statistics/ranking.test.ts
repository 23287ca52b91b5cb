import { describe, expect, it } from 'vitest';
import { areaUnderCurve } from '../../../src/study/statistics/ranking.ts';

describe('area under the curve', () => {
  it('is the share of positive–negative pairs that are ranked rightly, ties counting half', () => {
    const scores = [0.1, 0.4, 0.35, 0.8, 0.4];
    const positive = [false, false, true, true, true];
    let right = 0;
    for (const i of [2, 3, 4])
      for (const j of [0, 1]) right += scores[i] > scores[j] ? 1 : scores[i] === scores[j] ? 0.5 : 0;
    expect(areaUnderCurve(scores, positive)).toBeCloseTo(right / 6, 12);
  });

  it('is 1, 0 and one half where it must be', () => {
    expect(areaUnderCurve([1, 2, 3], [false, false, true])).toBe(1);
    expect(areaUnderCurve([1, 2, 3], [true, false, false])).toBe(0);
    expect(areaUnderCurve([5, 5, 5], [true, false, false])).toBe(0.5);
  });

  it('is null where there is nothing to rank', () => {
    expect(areaUnderCurve([1, 2], [true, true])).toBeNull();
  });
});
