/** The largest logits, by the rule of the argmax; a stable full sort is the reference. */
import { expect, test } from 'vitest';
import { candidatesOf } from '../../src/divergence/candidates.ts';
import { argmax } from '../../src/model/sampling/index.ts';
import { RandomStream } from '../../src/numerics/random.ts';

test('are those of a stable sort, the argmax first, whatever the ties', () => {
  const stream = new RandomStream(3, 'candidates');
  for (let round = 0; round < 300; round++) {
    // Few distinct values, so that ties are common.
    const logits = Float32Array.from({ length: 1 + (round % 23) }, () => Math.floor(stream.uniform() * 6) - 3);
    const sorted = Array.from(logits, (_, id) => id).sort((a, b) => logits[b] - logits[a]);
    const { tokens, probabilities } = candidatesOf(logits);
    expect(tokens).toEqual(sorted.slice(0, 5));
    expect(tokens[0]).toBe(argmax(logits));
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    tokens.forEach((token, i) => {
      expect(probabilities[i]).toBeCloseTo(Math.exp(logits[token]) / total, 14);
    });
  }
});

test('zeros of both signs tie, NaN is behind every number, and infinities are numbers', () => {
  expect(candidatesOf(Float32Array.of(0, -0, 0, -1, -0)).tokens).toEqual([0, 1, 2, 4, 3]);
  expect(candidatesOf(Float64Array.of(Number.NaN, 1, Number.NaN, -Infinity, 2)).tokens).toEqual([4, 1, 3, 0, 2]);
  expect(candidatesOf(Float64Array.of(1, 2, Infinity, 3, 4, 5, 6)).tokens).toEqual([2, 6, 5, 4, 3]);
  const { tokens, probabilities } = candidatesOf(Float64Array.of(Number.NaN, Number.NaN));
  expect(tokens).toEqual([0, 1]);
  expect(probabilities).toEqual([Number.NaN, Number.NaN]);
});

test('probabilities are over the whole vocabulary, at temperature 1, whatever the size of the logits', () => {
  expect(candidatesOf(new Float32Array(10).fill(80)).probabilities).toEqual(Array(5).fill(0.1));
  const { probabilities } = candidatesOf(Float64Array.of(2000, 2000 + Math.log(3)));
  expect(probabilities[0]).toBeCloseTo(0.75, 12);
});
