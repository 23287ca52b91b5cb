import { describe, expect, it } from 'vitest';
import { type C1Condition, judgeC1 } from '../../../src/study/claims/c1.ts';

/** Every text diverges, and each divergence starts at a small margin. */
const diverging: C1Condition = {
  ...{ name: 'm/fp16/ort/greedy', scope: 'test', failedGates: [], keyed: true },
  ...{ diverged: 59, equalToEnd: 0, equalAtLimit: 0, share: { value: 1, lower: 0.94, upper: 1 } },
  firstFlips: { suspects: 0, suspectAbove: 0.02, boundary: 0, withoutMargin: 0, unexplained: 0 },
};

const judge = (changes: Partial<C1Condition>) =>
  judgeC1({ scope: 'all', conditions: [{ ...diverging, ...changes }], voided: [] })[0].verdict;
const first = (changes: Partial<C1Condition['firstFlips']>) =>
  judge({ firstFlips: { ...diverging.firstFlips, ...changes } });

describe('C1 per condition', () => {
  it('is supported by 59 texts that all diverge, not by 58', () => {
    expect(judge({})).toBe('supported');
    expect(judge({ diverged: 58 })).toBe('not identifiable');
  });

  it('is contradicted by one text identical to its end, whatever else holds', () => {
    expect(judge({ equalToEnd: 1, diverged: 400 })).toBe('contradicted');
    expect(judge({ equalToEnd: 1, keyed: false })).toBe('contradicted');
  });

  it('is open where a text was identical as far as it was watched', () => {
    expect(judge({ equalAtLimit: 1, diverged: 400 })).toBe('not identifiable');
  });

  it('is not supported by draws that are not keyed alike', () => {
    expect(judge({ keyed: false })).toBe('not identifiable');
  });

  it('is not supported with a suspect first flip, without a placebo, or where no flip explains a divergence', () => {
    expect(first({ suspects: 1 })).toBe('not identifiable');
    expect(first({ suspects: null, suspectAbove: null })).toBe('not identifiable');
    expect(first({ unexplained: 1 })).toBe('not identifiable');
  });

  it('first flips at a cut or without a margin are counted, and forbid nothing', () => {
    expect(first({ boundary: 9, withoutMargin: 20 })).toBe('supported');
  });

  it.each(['prefix', 'finite'])('is open where gate %s failed', (gate) => {
    expect(judge({ failedGates: [gate] })).toBe('not identifiable');
    expect(judge({ failedGates: [gate], equalToEnd: 5 })).toBe('not identifiable');
  });

  it('shows the placebo quantile and the counts it read', () => {
    const [{ inputs }] = judgeC1({ scope: 'all', conditions: [diverging], voided: [] });
    expect(inputs).toMatchObject({ diverged: 59, suspects: 0, suspectAbove: 0.02, coupling: 'keyed' });
  });
});

describe('C1 over all conditions', () => {
  const overall = (conditions: C1Condition[], voided: string[] = []) =>
    judgeC1({ scope: 'all', conditions, voided }).at(-1)!;
  const equal = { ...diverging, equalToEnd: 1 };
  const open = { ...diverging, diverged: 10 };

  it('is supported only if all are', () => {
    expect(overall([diverging, diverging]).verdict).toBe('supported');
    expect(overall([diverging, open]).verdict).toBe('not identifiable');
    expect(overall([]).verdict).toBe('not identifiable');
  });

  it('is contradicted if one is', () => {
    expect(overall([diverging, equal, open]).verdict).toBe('contradicted');
    expect(overall([diverging, equal, open]).inputs).toMatchObject({ supported: 1, contradicted: 1 });
  });

  it('is not supported where a condition has no numbers', () => {
    expect(overall([diverging], ['n/fp16/ort/greedy']).verdict).toBe('not identifiable');
    expect(overall([equal], ['n/fp16/ort/greedy']).verdict).toBe('contradicted');
  });
});
