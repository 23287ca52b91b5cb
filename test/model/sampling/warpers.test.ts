/** Temperature, top-k and top-p against cases worked out by hand. */
import { describe, expect, test } from 'vitest';
import type { SamplingStrategy } from '../../../src/model/sampling/strategy.ts';
import { processedProbabilities, processedScores, softmax } from '../../../src/model/sampling/warpers.ts';

const strategy = (change: Partial<SamplingStrategy>): SamplingStrategy => ({
  kind: 'sample',
  temperature: 1,
  topK: null,
  topP: null,
  seed: 0,
  sampler: 'gumbel',
  ...change,
});
const logs = (...weights: number[]) => Float64Array.from(weights, Math.log);
/** Indices of the tokens that stay. */
const kept = (logits: Float64Array | Float32Array, change: Partial<SamplingStrategy>) =>
  [...processedScores(logits, strategy(change)).entries()].filter(([, score]) => score !== -Infinity).map(([j]) => j);
const close = (found: Float64Array, expected: number[]) => {
  expect(found.length).toBe(expected.length);
  expected.forEach((value, j) => {
    expect(found[j]).toBeCloseTo(value, 14);
  });
};

describe('softmax', () => {
  test('of log weights is the weights over their sum', () => close(softmax(logs(1, 2, 5)), [0.125, 0.25, 0.625]));
  test('does not overflow', () => close(softmax(Float64Array.of(1e308, 1e308, -1e308)), [0.5, 0.5, 0]));
  test('gives −∞ nothing', () => close(softmax(Float64Array.of(0, -Infinity)), [1, 0]));
});

describe('temperature', () => {
  test('1/2 squares the odds', () => {
    close(processedProbabilities(logs(1, 2), strategy({ temperature: 0.5 })), [0.2, 0.8]);
  });
  test('2 takes their root', () => {
    close(processedProbabilities(logs(1, 9), strategy({ temperature: 2 })), [0.25, 0.75]);
  });
});

describe('top-k', () => {
  const logits = Float64Array.of(3, 1, 4, 1, 5, 9, 2, 6);
  test.each([
    [1, [5]],
    [3, [4, 5, 7]],
    [7, [0, 1, 2, 3, 4, 5, 6, 7]],
    [8, [0, 1, 2, 3, 4, 5, 6, 7]],
    [100, [0, 1, 2, 3, 4, 5, 6, 7]],
  ])('%i keeps the largest, and all that tie with the last of them', (topK, expected) => {
    expect(kept(logits, { topK })).toEqual(expected);
  });
  test('keeps every token where all tie', () => expect(kept(Float64Array.of(2, 2, 2), { topK: 1 })).toEqual([0, 1, 2]));
  test('spreads what was dropped over the rest', () => {
    close(processedProbabilities(logs(1, 2, 6), strategy({ topK: 2 })), [0, 0.25, 0.75]);
  });
});

describe('top-p', () => {
  // From below: token 2 has 1/16, token 0 1/8, token 3 5/16, token 1 1/2; they add up to 0.0625, 0.1875, 0.5, 1.
  const logits = logs(2, 8, 1, 5);
  test.each([
    [0.9, [0, 1, 3]],
    [0.75, [1, 3]],
    [0.4, [1]],
    [1e-9, [1]],
    [1, [0, 1, 2, 3]],
  ])('%d drops the least likely while what they add up to is ≤ 1 − p', (topP, expected) => {
    expect(kept(logits, { topP })).toEqual(expected);
  });
  test('drops where the sum is exactly 1 − p', () => {
    // Two equal tokens: the first has 0.5 ≤ 1 − 0.5.
    expect(kept(Float64Array.of(0, 0), { topP: 0.5 })).toEqual([1]);
  });
  test('keeps the token that reaches p', () => expect(kept(Float64Array.of(0, 0), { topP: 0.51 })).toEqual([0, 1]));
  test('always keeps one', () => expect(kept(Float64Array.of(0, 0, 0, 0), { topP: 1e-300 })).toEqual([3]));
  test('counts what top-k left', () => {
    // Of 1, 2, 3, 4 top-k leaves 3, 4: probabilities 3/7, 4/7; 3/7 ≤ 1 − 0.5.
    expect(kept(logs(1, 2, 3, 4), { topK: 2, topP: 0.5 })).toEqual([3]);
    expect(kept(logs(1, 2, 3, 4), { topK: 2, topP: 0.6 })).toEqual([2, 3]);
  });
  test('sees the distribution after the temperature', () => {
    // 1 : 2 becomes 1 : 4 at T = 1/2, and 0.2 ≤ 1 − 0.75.
    expect(kept(logs(1, 2), { topP: 0.75 })).toEqual([0, 1]);
    expect(kept(logs(1, 2), { topP: 0.75, temperature: 0.5 })).toEqual([1]);
  });
});

test('the logits themselves are left alone', () => {
  const logits = Float32Array.of(3, 1, 2);
  processedProbabilities(logits, strategy({ temperature: 0.5, topK: 1, topP: 0.5 }));
  expect([...logits]).toEqual([3, 1, 2]);
});
