import { describe, expect, it } from 'vitest';
import { type C2Evidence, judgeC2, placeboQuantile } from '../../../src/study/claims/c2.ts';

const conditions = (positive: number, of: number): C2Evidence['conditions'] =>
  Array.from({ length: of }, (_, i) => ({ name: `c${i}`, cachedOnly: i < positive ? 4 : 1, uncachedOnly: 1 }));

/** The cached arm is better, clearly and in 8 of 9. */
const better: C2Evidence = {
  ...{ scope: 'test', failedGates: [], voided: [], conditions: conditions(8, 9) },
  signFlip: { p: 0.049, sum: 24, informative: 30 },
  difference90: { value: 0.03, lower: 0.012, upper: 0.05 },
  placebo: { sums: Array.from({ length: 19 }, (_, i) => i - 9), observed: 24 },
  power: { neededDiscordant: 9, untestable: [] },
};

const judge = (changes: Partial<C2Evidence>) => judgeC2({ ...better, ...changes })[0].verdict;
const test = (changes: Partial<C2Evidence['signFlip']>) => judge({ signFlip: { ...better.signFlip, ...changes } });

describe('C2', () => {
  it('is supported if the test, the direction, 8 of 9 conditions and the placebo all agree', () => {
    expect(judge({})).toBe('supported');
  });

  it('is open below 6 prompts that differ, even where the arms are equal', () => {
    expect(test({ informative: 6 })).toBe('supported');
    expect(test({ informative: 5 })).toBe('not identifiable');
    const equal = { signFlip: { p: 1, sum: 0, informative: 0, exact: true } };
    expect(judge({ ...equal, difference90: { value: 0, lower: 0, upper: 0 } })).toBe('not identifiable');
  });

  it('p has to be below 0.05', () => {
    expect(test({ p: 0.05 })).toBe('not identifiable');
  });

  it('needs 8/9 of the conditions, of any number of them, those without numbers included', () => {
    expect(judge({ conditions: conditions(7, 9) })).toBe('not identifiable');
    expect(judge({ conditions: conditions(16, 18) })).toBe('supported');
    expect(judge({ conditions: conditions(15, 18) })).toBe('not identifiable');
    expect(judge({ conditions: conditions(3, 3) })).toBe('supported');
    expect(judge({ conditions: conditions(8, 8), voided: ['v'] })).toBe('supported');
    expect(judge({ conditions: conditions(7, 7), voided: ['v'] })).toBe('not identifiable');
  });

  it('has to exceed the 95 % quantile of at least 19 placebos', () => {
    const sums = Array.from({ length: 19 }, (_, i) => i);
    expect(judge({ placebo: { sums, observed: 18 } })).toBe('not identifiable');
    expect(judge({ placebo: { sums, observed: 19 } })).toBe('supported');
    expect(judge({ placebo: { sums: sums.slice(1), observed: 19 } })).toBe('not identifiable');
    expect(judge({ placebo: null })).toBe('not identifiable');
  });

  it('is contradicted by a clear direction the other way', () => {
    expect(test({ sum: -24 })).toBe('contradicted');
    expect(test({ sum: -24, p: 0.06 })).toBe('not identifiable');
  });

  it('is contradicted by arms that are equal to a point', () => {
    const unclear = { signFlip: { ...better.signFlip, p: 0.6 } };
    expect(judge({ ...unclear, difference90: { value: 0, lower: -0.01, upper: 0.01 } })).toBe('contradicted');
    expect(judge({ ...unclear, difference90: { value: 0, lower: -0.0101, upper: 0.01 } })).toBe('not identifiable');
    expect(judge({ ...unclear, difference90: { value: 0, lower: -0.01, upper: 0.0101 } })).toBe('not identifiable');
    expect(judge({ ...unclear, difference90: null })).toBe('not identifiable');
  });

  it('is open where gate prefix failed', () => {
    expect(judge({ failedGates: ['prefix'] })).toBe('not identifiable');
    expect(judge({ failedGates: ['batch-threads'] })).toBe('supported');
  });

  it('states the power: what would be needed, and which conditions are untestable', () => {
    const [{ inputs }] = judgeC2({ ...better, power: { neededDiscordant: 9, untestable: ['c0', 'c3'] } });
    expect(inputs).toMatchObject({ neededDiscordant: 9, untestable: 'c0, c3', positive: 8, conditions: 9 });
  });
});

describe('the placebo quantile', () => {
  it('of 19 sums is the largest, of 39 the second largest: a chance of 1/20 to exceed it', () => {
    const sums = (count: number) => Array.from({ length: count }, (_, i) => (7 * i) % count);
    expect(placeboQuantile(sums(19))).toBe(18);
    expect(placeboQuantile(sums(39))).toBe(37);
    expect(placeboQuantile(sums(20))).toBe(19);
    expect(placeboQuantile(sums(18))).toBeNull();
  });
});
