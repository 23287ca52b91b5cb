/** Options of the command line → strategy. */
import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { resolveStrategy, type StrategyOptions, strategyName } from '../../../src/model/sampling/strategy.ts';

const sample = { kind: 'sample', temperature: 1, topK: null, topP: null, seed: 0, sampler: 'gumbel' };

test.each<[StrategyOptions, object, string]>([
  [{}, { kind: 'greedy' }, 'greedy'],
  [{ sampler: 'inverse-cdf' }, { kind: 'greedy' }, 'greedy'],
  [{ temperature: 0 }, { kind: 'greedy' }, 'greedy'],
  [{ temperature: 0, topK: 5, topP: 0.5, seed: 3 }, { kind: 'greedy' }, 'greedy'],
  [{ temperature: 1 }, sample, 't1.0'],
  [{ seed: 3 }, { ...sample, seed: 3 }, 't1.0'],
  [{ topK: 50 }, { ...sample, topK: 50 }, 't1.0-k50'],
  [{ temperature: 0.7, topP: 0.9 }, { ...sample, temperature: 0.7, topP: 0.9 }, 't0.7-p0.9'],
  [
    { topK: 40, topP: 1, sampler: 'inverse-cdf' },
    { ...sample, topK: 40, topP: 1, sampler: 'inverse-cdf' },
    't1.0-k40-p1.0',
  ],
])('%o is %o, named %s', (options, strategy, name) => {
  const resolved = resolveStrategy(options);
  expect(resolved).toEqual(strategy);
  expect(strategyName(resolved)).toBe(name);
});

describe('refused', () => {
  test.each<[StrategyOptions, RegExp]>([
    [{ temperature: -0.1 }, /^--temperature: found -0\.1, expected a number ≥ 0$/],
    [{ temperature: NaN }, /^--temperature: found NaN/],
    [{ temperature: Infinity }, /^--temperature: found Infinity/],
    [{ topK: 0 }, /^--top-k: found 0, expected a whole number ≥ 1$/],
    [{ topK: 1.5 }, /^--top-k: found 1\.5/],
    [{ topP: 0 }, /^--top-p: found 0, expected a number in \(0, 1\]$/],
    [{ topP: 1.01 }, /^--top-p: found 1\.01/],
    [{ topP: NaN }, /^--top-p: found NaN/],
    [{ seed: -1 }, /^--seed: found -1, expected a whole number ≥ 0$/],
    [{ seed: 0.5 }, /^--seed: found 0\.5/],
    [{ seed: 2 ** 53 }, /^--seed: found 9007199254740992/],
    [{ temperature: 0, topP: 2 }, /^--top-p: found 2/],
  ])('%o', (options, says) => {
    expect(() => resolveStrategy(options)).toThrow(UsageError);
    expect(() => resolveStrategy(options)).toThrow(says);
  });
});
