/** Choosing a token: ties, keys, and frequencies that match the probabilities they are drawn from. */
import { describe, expect, test } from 'vitest';
import { argmax, chooseToken, type DrawKey, keyedUniform } from '../../../src/model/sampling/choose.ts';
import type { SamplingStrategy } from '../../../src/model/sampling/strategy.ts';
import { processedProbabilities } from '../../../src/model/sampling/warpers.ts';

const samplers = ['gumbel', 'inverse-cdf'] as const;
const strategy = (change: Partial<SamplingStrategy> = {}): SamplingStrategy => ({
  kind: 'sample',
  temperature: 1,
  topK: null,
  topP: null,
  seed: 0,
  sampler: 'gumbel',
  ...change,
});
const logits = Float64Array.of(0.3, -1, 2, 0.9, -0.2, 1.4, 0, 0.7);
const keys = Array.from(
  { length: 20_000 },
  (_, i): DrawKey => ({ prompt: `prompt-${i % 200}`, step: Math.floor(i / 200) }),
);

describe('argmax', () => {
  test.each([
    [[1, 3, 3, 2], 1],
    [[0, -0], 0],
    [[-0, 0], 0],
    [[NaN, 1, 2], 2],
    [[NaN, NaN, NaN], 0],
    [[1, NaN, 2, NaN], 2],
    [[NaN, -Infinity], 1],
    [[-Infinity, -Infinity], 0],
    [[5], 0],
  ])('of %j is %i: the lowest index on ties, never NaN', (values, index) => {
    expect(argmax(Float32Array.from(values))).toBe(index);
    expect(argmax(Float64Array.from(values))).toBe(index);
  });
});

test('greedy takes the largest logit whatever the key', () => {
  const chosen = keys.slice(0, 500).map((key) => chooseToken(logits, { kind: 'greedy' }, key));
  expect(new Set(chosen)).toEqual(new Set([2]));
});

describe.each(samplers)('%s', (sampler) => {
  test.each<Partial<SamplingStrategy>>([
    {},
    { temperature: 0.7, topP: 0.9 },
    { temperature: 2, topK: 5, seed: 7 },
    { seed: 2 ** 53 - 1 },
  ])('frequencies match the probabilities under %o', (change) => {
    const sampling = strategy({ sampler, ...change });
    const probabilities = processedProbabilities(logits, sampling);
    const counts = new Float64Array(logits.length);
    for (const key of keys) counts[chooseToken(logits, sampling, key)] += 1;
    let chiSquare = 0;
    for (const [j, p] of probabilities.entries()) {
      if (p === 0) expect(counts[j]).toBe(0);
      else chiSquare += (counts[j] - p * keys.length) ** 2 / (p * keys.length);
    }
    // Seven degrees of freedom exceed 40 once in 800,000 times.
    expect(chiSquare).toBeLessThan(40);
  });

  test('a temperature near 0 is greedy', () => {
    const sampling = strategy({ sampler, temperature: 1e-9 });
    expect(keys.slice(0, 500).every((key) => chooseToken(logits, sampling, key) === 2)).toBe(true);
  });

  test('one candidate is always chosen', () => {
    const sampling = strategy({ sampler, topK: 1 });
    expect(keys.slice(0, 500).every((key) => chooseToken(logits, sampling, key) === 2)).toBe(true);
  });

  test('the same key gives the same token, in any order', () => {
    const choose = (key: DrawKey) => chooseToken(logits, strategy({ sampler }), key);
    const some = keys.slice(0, 300);
    expect(some.toReversed().map(choose).toReversed()).toEqual(some.map(choose));
  });

  test.each<[string, Partial<SamplingStrategy>, DrawKey]>([
    ['prompt', {}, { prompt: 'other', step: 3 }],
    ['step', {}, { prompt: 'id', step: 4 }],
    ['seed', { seed: 1 }, { prompt: 'id', step: 3 }],
    ['upper half of the seed', { seed: 2 ** 32 }, { prompt: 'id', step: 3 }],
  ])('another %s gives other draws', (_, change, { prompt, step }) => {
    const flat = new Float64Array(64);
    const draw = (sampling: SamplingStrategy, at: DrawKey) =>
      Array.from({ length: 20 }, (_, i) => chooseToken(flat, sampling, { prompt: at.prompt, step: at.step + 10 * i }));
    const one = draw(strategy({ sampler }), { prompt: 'id', step: 3 });
    const other = draw(strategy({ sampler, ...change }), { prompt, step });
    expect(one.filter((token, i) => token === other[i]).length).toBeLessThan(5);
  });
});

test('draws are keyed by the token, not by how many tokens came before it', () => {
  const draw = keyedUniform(0, { prompt: 'id', step: 0 });
  const ascending = [0, 1, 2, 3].map(draw);
  expect([3, 2, 1, 0].map(draw)).toEqual(ascending.toReversed());
  expect(new Set(ascending).size).toBe(4);
});

/** How often two distributions give different tokens under common random numbers, beside their total variation. */
function flips(sampler: SamplingStrategy['sampler'], size: number, noise: number) {
  const uniform = keyedUniform(99, { prompt: 'logits', step: 0 });
  const a = Float64Array.from({ length: size }, (_, j) => 3 * (uniform(j) - 0.5));
  const b = Float64Array.from(a, (score, j) => score + noise * (uniform(size + j) - 0.5));
  const sampling = strategy({ sampler });
  const [p, q] = [a, b].map((scores) => processedProbabilities(scores, sampling));
  const tv = p.reduce((sum, value, j) => sum + Math.abs(value - q[j]) / 2, 0);
  const rate =
    keys.filter((key) => chooseToken(a, sampling, key) !== chooseToken(b, sampling, key)).length / keys.length;
  return { tv, rate, spread: 5 * Math.sqrt(tv / keys.length) };
}

describe.each([
  [8, 0.2],
  [30, 1],
  [30, 4],
])('two distributions over %i tokens, logits shifted by up to %d / 2', (size, noise) => {
  test('under Gumbel-max flip at least TV and at most 2 TV / (1 + TV) of the time', () => {
    const { tv, rate, spread } = flips('gumbel', size, noise);
    expect(rate).toBeGreaterThan(tv - spread);
    expect(rate).toBeLessThan((2 * tv) / (1 + tv) + spread);
  });
  test('under inverse-CDF flip at least TV of the time', () => {
    const { tv, rate, spread } = flips('inverse-cdf', size, noise);
    expect(rate).toBeGreaterThan(tv - spread);
  });
});

test('equal logits never flip', () => {
  for (const sampler of samplers) expect(flips(sampler, 30, 0)).toMatchObject({ tv: 0, rate: 0 });
});
