import { describe, expect, it } from 'vitest';
import { exactMcNemar, holm, neededDiscordant, smallestP } from '../../../src/study/statistics/mcnemar.ts';

describe('exact McNemar', () => {
  it.each([
    // Twice the binomial tail with p = 1/2, by hand.
    [0, 5, 2 / 32],
    [1, 5, (2 * 7) / 64],
    [3, 3, 1],
    [0, 0, 1],
    [2, 9, (2 * (1 + 11 + 55)) / 2048],
  ])('%i against %i discordant pairs: p = %f', (first, second, p) => {
    expect(exactMcNemar({ first, second })).toBeCloseTo(p, 12);
    expect(exactMcNemar({ first: second, second: first })).toBeCloseTo(p, 12);
  });

  it('does not overflow with thousands of pairs', () => {
    const p = exactMcNemar({ first: 2_400, second: 2_600 });
    // Normal approximation with continuity correction: z = 199 / √5000 = 2.814.
    expect(p).toBeGreaterThan(0.0045);
    expect(p).toBeLessThan(0.0053);
  });

  it('its smallest p is what all pairs on one side give', () => {
    for (const n of [1, 2, 6, 10]) expect(smallestP(n)).toBeCloseTo(exactMcNemar({ first: 0, second: n }), 12);
  });
});

describe('power', () => {
  it.each([
    // 2^-5 ≤ 0.05 < 2^-4; 2^-8 ≤ 0.05/9 < 2^-7; 2^-10 ≤ 0.05/36 < 2^-9.
    [1, 6],
    [9, 9],
    [36, 11],
  ])('a family of %i needs %i discordant pairs', (conditions, needed) => {
    expect(neededDiscordant(conditions)).toBe(needed);
    expect(smallestP(needed)).toBeLessThanOrEqual(0.05 / conditions);
    expect(smallestP(needed - 1)).toBeGreaterThan(0.05 / conditions);
  });
});

describe('Holm', () => {
  it("adjusts Holm's way: 0.01, 0.04, 0.03, 0.005 of four", () => {
    expect(holm([0.01, 0.04, 0.03, 0.005]).map((p) => Number(p.toFixed(6)))).toEqual([0.03, 0.06, 0.06, 0.02]);
  });

  it('never falls below a smaller p, and never exceeds 1', () => {
    const adjusted = holm([0.9, 0.2, 0.6, 0.4]);
    expect(Math.max(...adjusted)).toBe(1);
    expect(adjusted[3]).toBeGreaterThanOrEqual(adjusted[1]);
  });
});
