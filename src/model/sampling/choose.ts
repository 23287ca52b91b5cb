/**
 * Choose the next token. Random numbers are keyed by (seed, prompt id, step, token), so that both arms, every shard and
 * every order of work draw the same ones: without common random numbers a divergence rate means nothing.
 */
import { createHash } from 'node:crypto';
import { philox, uniform } from '../../numerics/philox.ts';
import type { SamplingStrategy, Strategy } from './strategy.ts';
import { processedProbabilities, processedScores } from './warpers.ts';

type FloatArray = Float32Array | Float64Array;

/** What a draw is keyed by beside the seed. */
export interface DrawKey {
  /** The prompt's id, never its index. */
  prompt: string;
  /** 0-based step among the new tokens. */
  step: number;
}

/** The next token: the largest score (greedy, Gumbel-max) or the inverse-CDF draw; lowest index on ties. */
export function chooseToken(logits: FloatArray, strategy: Strategy, key: DrawKey): number {
  if (strategy.kind === 'greedy') return argmax(logits);
  return strategy.sampler === 'gumbel' ? gumbelMax(logits, strategy, key) : inverseCdf(logits, strategy, key);
}

/** Index of the largest value, the lowest on ties. NaN is never the largest, unless there is nothing else. */
export function argmax(values: FloatArray): number {
  let best = 0;
  for (let j = 1; j < values.length; j++) {
    if (values[j] > values[best] || (Number.isNaN(values[best]) && !Number.isNaN(values[j]))) best = j;
  }
  return best;
}

/** argmax of score + g, g = −log(−log u) with u keyed by the token: small changes of the logits rarely change it. */
function gumbelMax(logits: FloatArray, strategy: SamplingStrategy, key: DrawKey): number {
  const scores = processedScores(logits, strategy);
  const draw = keyedUniform(strategy.seed, key);
  for (let token = 0; token < scores.length; token++) {
    if (scores[token] !== -Infinity) scores[token] -= Math.log(-Math.log(draw(token)));
  }
  return argmax(scores);
}

/** The first token at which the cumulative probability passes one uniform number, in vocabulary order. */
function inverseCdf(logits: FloatArray, strategy: SamplingStrategy, key: DrawKey): number {
  const probabilities = processedProbabilities(logits, strategy);
  const threshold = keyedUniform(strategy.seed, key)(0xffffffff);
  let sum = 0;
  let last = 0;
  for (let token = 0; token < probabilities.length; token++) {
    if (probabilities[token] === 0) continue;
    sum += probabilities[token];
    last = token;
    if (sum > threshold) return token;
  }
  return last;
}

const promptKeys = new Map<string, [number, number]>();

/** Uniform numbers in (0, 1) by token, for one seed, prompt and step. */
export function keyedUniform(seed: number, { prompt, step }: DrawKey): (token: number) => number {
  const known = promptKeys.get(prompt);
  const digest = known ? null : createHash('sha256').update(prompt, 'utf8').digest();
  const [high, low] = known ?? [digest!.readUInt32BE(0), digest!.readUInt32BE(4)];
  if (promptKeys.size > 10_000) promptKeys.clear();
  promptKeys.set(prompt, [high, low]);
  const key: [number, number] = [seed >>> 0, Math.floor(seed / 2 ** 32)];
  const counter = new Uint32Array(4);
  return (token) => {
    counter[0] = token;
    counter[1] = step;
    counter[2] = high;
    counter[3] = low;
    philox(counter, key);
    return uniform(counter[0], counter[1]);
  };
}
