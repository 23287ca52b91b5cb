/** How the next token is chosen, as the command line says it. */
import { UsageError } from '../../errors.ts';

/** Greedy, or sampling with Hugging Face's warpers and keyed random numbers. */
export type Strategy = { kind: 'greedy' } | SamplingStrategy;

export interface SamplingStrategy {
  kind: 'sample';
  temperature: number;
  /** Null: off. */
  topK: number | null;
  topP: number | null;
  seed: number;
  sampler: 'gumbel' | 'inverse-cdf';
}

export interface StrategyOptions {
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
  sampler?: 'gumbel' | 'inverse-cdf';
}

/**
 * The strategy that the options describe: greedy if none is given or T = 0, else sampling with T = 1, seed 0, Gumbel-max.
 * @throws UsageError naming the option and its value.
 */
export function resolveStrategy({ temperature, topK, topP, seed, sampler }: StrategyOptions): Strategy {
  const check = (valid: boolean, option: string, value: unknown, expected: string) => {
    if (!valid) throw new UsageError(`--${option}: found ${value}, expected ${expected}`);
  };
  if (temperature !== undefined) {
    check(Number.isFinite(temperature) && temperature >= 0, 'temperature', temperature, 'a number ≥ 0');
  }
  if (topK !== undefined) check(Number.isSafeInteger(topK) && topK >= 1, 'top-k', topK, 'a whole number ≥ 1');
  if (topP !== undefined) check(topP > 0 && topP <= 1, 'top-p', topP, 'a number in (0, 1]');
  if (seed !== undefined) check(Number.isSafeInteger(seed) && seed >= 0, 'seed', seed, 'a whole number ≥ 0');
  const sampling = [temperature, topK, topP, seed].some((option) => option !== undefined);
  if (!sampling || temperature === 0) return { kind: 'greedy' };
  return {
    kind: 'sample',
    temperature: temperature ?? 1,
    topK: topK ?? null,
    topP: topP ?? null,
    seed: seed ?? 0,
    sampler: sampler ?? 'gumbel',
  };
}

/** `greedy`, `t0.7-p0.9`, `t1.0-k50`. */
export function strategyName(strategy: Strategy): string {
  if (strategy.kind === 'greedy') return 'greedy';
  const { temperature, topK, topP } = strategy;
  const decimal = (value: number) => (Number.isInteger(value) ? value.toFixed(1) : String(value));
  const parts = [`t${decimal(temperature)}`];
  if (topK !== null) parts.push(`k${topK}`);
  if (topP !== null) parts.push(`p${decimal(topP)}`);
  return parts.join('-');
}
