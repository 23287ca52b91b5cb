import { describe, expect, it } from 'vitest';
import { bootstrapRatio } from '../../../src/numerics/bootstrap.ts';
import { RandomStream } from '../../../src/numerics/random.ts';
import { exactBootstrapSum, wholeRatioInterval } from '../../../src/study/statistics/exact-bootstrap.ts';

const repeated = (...counts: [value: number, count: number][]): number[] =>
  counts.flatMap(([value, count]) => Array.from({ length: count }, () => value));

/** The least k of which n coins, heads with probability p, give k heads or fewer with probability ≥ q; term by term. */
function binomialQuantile(n: number, p: number, q: number): number {
  let term = (1 - p) ** n;
  let sum = term;
  let k = 0;
  while (sum < q) {
    term *= ((n - k) / (k + 1)) * (p / (1 - p));
    k += 1;
    sum += term;
  }
  return k;
}

describe('the exact bootstrap of a sum', () => {
  it.each([
    [40, 3],
    [200, 20],
    [200, 150],
    [9, 1],
  ])('of %d zeros and ones, %d of them ones, is binomial', (n, ones) => {
    const found = exactBootstrapSum(repeated([1, ones], [0, n - ones]), 0.9);
    // From above it is the binomial of the zeros.
    const high = n - binomialQuantile(n, 1 - ones / n, 0.05);
    expect(found).toEqual({ low: binomialQuantile(n, ones / n, 0.05), high });
  });

  it('counts every draw of a few', () => {
    const values = [3, -1, 0, 2];
    const sums: number[] = [];
    for (let draw = 0; draw < 4 ** 4; draw++) {
      sums.push([0, 1, 2, 3].reduce((sum, place) => sum + values[Math.floor(draw / 4 ** place) % 4], 0));
    }
    const share = (fits: (sum: number) => boolean) => sums.filter(fits).length / sums.length;
    for (const level of [0.5, 0.9, 0.95]) {
      const tail = (1 - level) / 2;
      const { low, high } = exactBootstrapSum(values, level)!;
      expect(share((sum) => sum <= low)).toBeGreaterThanOrEqual(tail);
      expect(share((sum) => sum < low)).toBeLessThan(tail);
      expect(share((sum) => sum >= high)).toBeGreaterThanOrEqual(tail);
      expect(share((sum) => sum > high)).toBeLessThan(tail);
    }
  });

  it('turns round with the sign, at a probability that is met exactly as well', () => {
    // Two draws of 0 and 1: sums 0, 1 and 2 with 1/4, 1/2 and 1/4.
    expect(exactBootstrapSum([0, 1], 0.5)).toEqual({ low: 0, high: 2 });
    expect(exactBootstrapSum([0, 1], 0.4)).toEqual({ low: 1, high: 1 });
    const values = repeated([2, 3], [1, 9], [0, 80], [-1, 4]);
    const [plain, turned] = [values, values.map((value) => -value)].map((each) => exactBootstrapSum(each, 0.9)!);
    expect(turned).toEqual({ low: -plain.high, high: -plain.low });
  });

  it('agrees with 200,000 draws', () => {
    const values = repeated([3, 1], [2, 4], [1, 10], [0, 160], [-1, 16], [-2, 7], [-4, 2]);
    const { low, high } = exactBootstrapSum(values, 0.9)!;
    const stream = new RandomStream(11, 'draws');
    const tails = { below: 0, upTo: 0, from: 0, above: 0 };
    const draws = 200_000;
    for (let draw = 0; draw < draws; draw++) {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[stream.integer(values.length)];
      tails.below += Number(sum < low);
      tails.upTo += Number(sum <= low);
      tails.from += Number(sum >= high);
      tails.above += Number(sum > high);
    }
    // Four standard errors of a share of 5 %.
    const error = 4 * Math.sqrt((0.05 * 0.95) / draws);
    expect(tails.below / draws).toBeLessThan(0.05 + error);
    expect(tails.upTo / draws).toBeGreaterThan(0.05 - error);
    expect(tails.from / draws).toBeGreaterThan(0.05 - error);
    expect(tails.above / draws).toBeLessThan(0.05 + error);
  });

  it('is null below two values, and of equal ones a point', () => {
    expect(exactBootstrapSum([4], 0.9)).toBeNull();
    expect(exactBootstrapSum([4, 4, 4], 0.9)).toEqual({ low: 12, high: 12 });
  });

  it('takes thousands of prompts', () => {
    const values = repeated([1, 900], [0, 8_000], [-1, 1_100]);
    const { low, high } = exactBootstrapSum(values, 0.9)!;
    // Normal with mean −200 and variance 2000 − 4.
    expect(low).toBeCloseTo(-200 - 1.6449 * Math.sqrt(1996), -0.5);
    expect(high).toBeCloseTo(-200 + 1.6449 * Math.sqrt(1996), -0.5);
  });
});

describe('a ratio of sums', () => {
  const tops = repeated([1, 6], [0, 50], [-1, 4]);

  it('is exact where all units have the same bottom', () => {
    const sum = exactBootstrapSum(tops, 0.9)!;
    const units = tops.map((top) => ({ top, bottom: 9 }));
    expect(wholeRatioInterval(units, 0.9)).toEqual({ low: sum.low / 540, high: sum.high / 540 });
    expect(wholeRatioInterval([], 0.9)).toBeNull();
  });

  it('is drawn where they have not, by many draws', () => {
    const units = tops.map((top, i) => ({ top, bottom: i % 2 === 0 ? 9 : 6 }));
    expect(wholeRatioInterval(units, 0.9)).toEqual(bootstrapRatio(units, { level: 0.9, resamples: 10_000 }));
    expect(wholeRatioInterval(units, 0.9)).not.toEqual(bootstrapRatio(units, { level: 0.9 }));
  });
});
