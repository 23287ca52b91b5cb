/**
 * From raw logits to the distribution tokens are drawn from: temperature, then top-k, then top-p, in Hugging Face's
 * order and with its rules, in float64.
 */
import type { SamplingStrategy } from './strategy.ts';

type FloatArray = Float32Array | Float64Array;

/** Scores after temperature, top-k and top-p; −Infinity where dropped. [d_vocab] */
export function processedScores(logits: FloatArray, { temperature, topK, topP }: SamplingStrategy): Float64Array {
  const scores = Float64Array.from(logits, (score) => score / temperature);
  if (topK !== null) keepTopK(scores, topK);
  if (topP !== null && topP < 1) keepTopP(scores, topP);
  return scores;
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
  const probabilities = softmax(scores);
  // Stable: among equal scores the lower index comes first and is dropped first, as torch.sort leaves it.
  const order = Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b] || a - b);
  let sum = 0;
  for (const j of order.slice(0, -1)) {
    sum += probabilities[j];
    if (sum <= 1 - p) scores[j] = -Infinity;
    else break;
  }
}

/** Softmax in float64. */
export function softmax(scores: FloatArray): Float64Array {
  let max = -Infinity;
  for (let j = 0; j < scores.length; j++) if (scores[j] > max) max = scores[j];
  const p = new Float64Array(scores.length);
  let sum = 0;
  for (let j = 0; j < scores.length; j++) sum += p[j] = Math.exp(scores[j] - max);
  for (let j = 0; j < scores.length; j++) p[j] /= sum;
  return p;
}
