/**
 * Choose the next token. Random numbers are keyed by (seed, prompt id, step, token), so that both arms, every shard and
 * every order of work draw the same ones: without common random numbers a divergence rate means nothing.
 */
import { createHash } from 'node:crypto';
import { philox, uniform } from '../../numerics/philox.ts';
import type { SamplingStrategy, Strategy } from './strategy.ts';
import { processedScores, softmax } from './warpers.ts';

type FloatArray = Float32Array | Float64Array;

/** What a draw is keyed by beside the seed. */
export interface DrawKey {
  /** The prompt's id, never its index. */
  prompt: string;
  /** 0-based step among the new tokens. */
  step: number;
}

/** What a strategy makes of one row of logits. */
export interface Decision {
  token: number;
  /** Scores after temperature, top-k and top-p, −Infinity where dropped: [d_vocab]; null where greedy. */
  scores: Float64Array | null;
  /**
   * Gumbel-max: by how much the token's perturbed score leads the next one's, × temperature, that is in logits. Null where one
   * token alone is left, and for the other strategies.
   */
  lead: number | null;
}

/** The next token: the largest score (greedy, Gumbel-max) or the inverse-CDF draw; lowest index on ties. */
export function chooseToken(logits: FloatArray, strategy: Strategy, key: DrawKey): number {
  return decide(logits, strategy, key).token;
}

/** The next token, and what it was chosen by. */
export function decide(logits: FloatArray, strategy: Strategy, key: DrawKey): Decision {
  if (strategy.kind === 'greedy') return { token: argmax(logits), scores: null, lead: null };
  const scores = processedScores(logits, strategy);
  if (strategy.sampler === 'gumbel') return { scores, ...gumbelMax(scores, strategy, key) };
  return { scores, token: inverseCdf(scores, strategy, key), lead: null };
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
function gumbelMax(
  scores: Float64Array,
  { seed, temperature }: SamplingStrategy,
  key: DrawKey,
): Pick<Decision, 'token' | 'lead'> {
  const perturbed = scores.slice();
  const draw = keyedUniform(seed, key);
  for (let token = 0; token < perturbed.length; token++) {
    if (perturbed[token] !== -Infinity) perturbed[token] -= Math.log(-Math.log(draw(token)));
  }
  const token = argmax(perturbed);
  let second = -Infinity;
  for (let j = 0; j < perturbed.length; j++) if (j !== token && perturbed[j] > second) second = perturbed[j];
  return { token, lead: second === -Infinity ? null : (perturbed[token] - second) * temperature };
}

/** The first token at which the cumulative probability passes one uniform number, in vocabulary order. */
function inverseCdf(scores: Float64Array, { seed }: SamplingStrategy, key: DrawKey): number {
  const probabilities = softmax(scores);
  const threshold = keyedUniform(seed, key)(0xffffffff);
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
