import { describe, expect, it } from 'vitest';
import { draws } from '../../../src/numerics/bootstrap.ts';
import type { Wait } from '../../../src/study/statistics/incidence.ts';
import { incidenceIntervals } from '../../../src/study/statistics/incidence-intervals.ts';

const many = (count: number, step: number, end: Wait['end']): Wait[] =>
  Array.from({ length: count }, () => ({ step, end }));

describe('intervals of cumulative incidence', () => {
  it('without censoring they are those of a share: 30 of 100, standard error 0.046', () => {
    const { at } = incidenceIntervals([...many(30, 4, 'event'), ...many(70, 9, 'competing')], [3, 4, 9]);
    expect(at.map(({ event }) => event.value)).toEqual([0, 0.3, 0.3]);
    expect(at[1].event.lower).toBeGreaterThan(0.3 - 2.4 * 0.046);
    expect(at[1].event.lower).toBeLessThan(0.3 - 1.5 * 0.046);
    expect(at[1].event.upper).toBeGreaterThan(0.3 + 1.5 * 0.046);
    expect(at[1].event.upper).toBeLessThan(0.3 + 2.4 * 0.046);
  });

  it('before the first event the bound is 1 − 0.05^(1/n), never 0', () => {
    const [first] = incidenceIntervals([...many(20, 4, 'event'), ...many(39, 9, 'censored')], [2]).at;
    expect(first.event).toEqual({ value: 0, lower: 0, upper: expect.closeTo(0.0495, 4) });
  });

  it('the median is the first step at which half have diverged; an end that is not reached is open', () => {
    const clear = incidenceIntervals([...many(60, 4, 'event'), ...many(60, 7, 'event')], [4]);
    expect(clear.median).toMatchObject({ value: 4, lower: 4, upper: 7 });
    const never = incidenceIntervals([...many(10, 4, 'event'), ...many(90, 7, 'censored')], [4]);
    expect(never.median).toBeNull();
    // No two prompts alike and nothing censored: a draw's median is that of its steps.
    const steps = Array.from({ length: 111 }, (_, i) => i + 1);
    const { median } = incidenceIntervals(
      steps.map((step): Wait => ({ step, end: 'event' })),
      [1],
    );
    const medians = [...draws(steps.length)].map((drawn) => Array.from(drawn).sort((a, b) => a - b)[55] + 1);
    const [cut, last] = [49, medians.length - 1];
    medians.sort((a, b) => a - b);
    expect(medians[last - cut]).toBeGreaterThan(medians[last - cut - 1]);
    expect(median).toEqual({ value: 56, lower: medians[cut], upper: medians[last - cut] });
    const open = incidenceIntervals([...many(51, 4, 'event'), ...many(49, 7, 'competing')], [4]);
    expect(open.median).toEqual({ value: 4, lower: 4, upper: null });
  });
});
