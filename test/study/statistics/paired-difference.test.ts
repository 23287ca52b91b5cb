import { describe, expect, it } from 'vitest';
import { pairedDifferenceInterval } from '../../../src/study/statistics/paired-difference.ts';

describe('interval of a paired difference', () => {
  it.each([
    // Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables (2017), chapter 8: Tango's interval.
    ['airway hyper-responsiveness (Bentur et al. 2009)', 1, 7, 21, -0.517, -0.026],
    ['complete response (Cavo et al. 2012)', 6, 16, 161, -0.124, -0.0054],
  ])('%s', (_, first, second, n, low, high) => {
    const found = pairedDifferenceInterval({ first, second }, n);
    expect(found.low).toBeCloseTo(low, 3);
    expect(found.high).toBeCloseTo(high, 3);
  });

  it('has a width where no pair is discordant: ± z² / (n + z²)', () => {
    const half = 3.841458820694124 / (200 + 3.841458820694124);
    const { low, high } = pairedDifferenceInterval({ first: 0, second: 0 }, 200);
    expect(low).toBeCloseTo(-half, 8);
    expect(high).toBeCloseTo(half, 8);
  });

  it('is mirrored when the arms change places, and holds the difference', () => {
    for (const [first, second, n] of [
      [3, 9, 40],
      [0, 4, 12],
      [11, 2, 13],
    ]) {
      const [one, other] = [
        pairedDifferenceInterval({ first, second }, n),
        pairedDifferenceInterval({ first: second, second: first }, n),
      ];
      expect(one.low).toBeCloseTo(-other.high, 12);
      expect(one.high).toBeCloseTo(-other.low, 12);
      expect(one.low).toBeLessThan((first - second) / n);
      expect(one.high).toBeGreaterThan((first - second) / n);
    }
  });

  it('ends at 1 where every pair is discordant the same way', () => {
    expect(pairedDifferenceInterval({ first: 10, second: 0 }, 10).high).toBeCloseTo(1, 12);
  });
});
