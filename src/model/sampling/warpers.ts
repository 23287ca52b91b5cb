/**
 * From raw logits to the distribution tokens are drawn from: temperature, then top-k, then top-p, in Hugging Face's
 * order and with its rules, in float64.
 */
import type { SamplingStrategy } from './strategy.ts';

type FloatArray = Float32Array | Float64Array;

/** Scores after temperature, top-k and top-p; −Infinity where dropped. [d_vocab] */
export function processedScores(logits: FloatArray, { temperature, topK, topP }: SamplingStrategy): Float64Array {
  const scores = divided(logits, temperature);
  if (topK !== null) keepTopK(scores, topK);
  if (topP !== null && topP < 1) keepTopP(scores, topP);
  return scores;
}

/** Numbers over a divisor, in float64; a loop, since mapping a typed array costs several times as much. */
export function divided(values: FloatArray, divisor: number): Float64Array {
  const found = new Float64Array(values.length);
  for (let j = 0; j < values.length; j++) found[j] = values[j] / divisor;
  return found;
}

/** Probabilities after the warpers; they sum to 1. */
export function processedProbabilities(logits: FloatArray, strategy: SamplingStrategy): Float64Array {
  return softmax(processedScores(logits, strategy));
}

/** Drop scores below the k-th largest; ties with it stay. */
function keepTopK(scores: Float64Array, k: number): void {
  if (k >= scores.length) return;
  const threshold = scores.toSorted()[scores.length - k];
  for (let j = 0; j < scores.length; j++) if (scores[j] < threshold) scores[j] = -Infinity;
}

/** Ascending sort, cumulative sum; drop where the sum is ≤ 1 − p; the largest always stays. */
function keepTopP(scores: Float64Array, p: number): void {
  const max = largest(scores);
  let total = 0;
  for (let j = 0; j < scores.length; j++) total += Math.exp(scores[j] - max);
  const ascending = scores.toSorted();
  let [dropped, sum] = [0, 0];
  for (; dropped < scores.length - 1; dropped++) {
    sum += Math.exp(ascending[dropped] - max) / total;
    if (!(sum <= 1 - p)) break;
  }
  if (dropped === 0) return;
  // Stable: among equal scores the lower index comes first and is dropped first, as torch.sort leaves it.
  const last = ascending[dropped - 1];
  let ties = dropped - ascending.indexOf(last);
  for (let j = 0; j < scores.length; j++) {
    if (scores[j] < last) scores[j] = -Infinity;
    else if (scores[j] === last && ties-- > 0) scores[j] = -Infinity;
  }
}

/** Softmax in float64. */
export function softmax(scores: FloatArray): Float64Array {
  const max = largest(scores);
  const p = new Float64Array(scores.length);
  let sum = 0;
  for (let j = 0; j < scores.length; j++) sum += p[j] = Math.exp(scores[j] - max);
  for (let j = 0; j < scores.length; j++) p[j] /= sum;
  return p;
}

function largest(scores: FloatArray): number {
  let max = -Infinity;
  for (let j = 0; j < scores.length; j++) if (scores[j] > max) max = scores[j];
  return max;
}
