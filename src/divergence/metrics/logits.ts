/**
 * Distances between two rows of logits, in float64 on raw temperature-1 logits.
 *
 * With d_j = z_c,j − z_u,j and p = softmax(z_u), the cached distribution is q_j = p_j e^{d_j} / Σ p e^{d}. Every distance
 * is computed from d through expm1 and log1p, so that a divergence of 1e-12 keeps its digits; subtracting two
 * log-softmaxes would not.
 */

import { argmax, divided, softmax } from '../../model/sampling/index.ts';
import type { StorageType } from '../../numerics/types.ts';
import { accumulate, createComparison, finish, type RowStatistics } from './row-comparison.ts';

type FloatArray = Float32Array | Float64Array;

/** One arm's choice: the largest logit (lowest index on ties), its lead over the second, and whether it is tied. */
export interface TopLogit {
  token: number;
  margin: number;
  tie: boolean;
}

/** Everything steps.arrow says about two rows of logits. */
export interface LogitsComparison {
  nDiffer: number;
  /** NaN and infinite logits of either arm, and NaN among them. */
  nonfinite: number;
  nan: number;
  maxAbs: number;
  relL2: number;
  /** L2 norm of the difference of mean-centred logits. */
  l2Centred: number;
  /** KL(uncached ‖ cached), nats. */
  kl: number;
  /** Jensen–Shannon divergence, nats. */
  js: number;
  /** Total variation, 0 … 1. */
  tv: number;
  /** Δz_2 − Δz_1: how much the uncached arm's second gains on its first, Δ = cached − uncached; 0 of a single logit. */
  topShift: number;
  cached: TopLogit;
  uncached: TopLogit;
}

/** Compare two rows of logits [d_vocab]. */
export function compareLogits(cached: FloatArray, uncached: FloatArray, dtype: StorageType): LogitsComparison {
  const comparison = createComparison();
  accumulate(comparison, cached, uncached, { dtype, rowLength: cached.length });
  const statistics: RowStatistics = finish(comparison);
  const tops = { cached: topLogit(cached), uncached: topLogit(uncached) };
  const { n_differ: nDiffer, nonfinite, nan, max_abs: maxAbs, rel_l2: relL2 } = statistics;
  const base = { nDiffer, nonfinite, nan, maxAbs, relL2, ...tops };
  if (nDiffer === 0) return { ...base, topShift: 0, l2Centred: 0, kl: 0, js: 0, tv: 0 };
  const topShift = gainOfSecond(cached, uncached, tops.uncached.token);
  return { ...base, topShift, l2Centred: centredDistance(cached, uncached), ...divergences(cached, uncached) };
}

/** What the largest uncached logit but `first` gains on it in the cached arm. */
function gainOfSecond(cached: FloatArray, uncached: FloatArray, first: number): number {
  let second = -1;
  for (let j = 0; j < uncached.length; j++) {
    if (j !== first && (second < 0 || uncached[j] > uncached[second])) second = j;
  }
  return second < 0 ? 0 : cached[second] - uncached[second] - (cached[first] - uncached[first]);
}

/** The largest logit; NaN is never it. */
export function topLogit(logits: FloatArray): TopLogit {
  const token = argmax(logits);
  let second = -Infinity;
  for (let j = 0; j < logits.length; j++) if (j !== token && logits[j] > second) second = logits[j];
  // Two infinite logits tie; their difference would be NaN.
  const tie = logits.length > 1 && logits[token] === second;
  const margin = logits.length > 1 ? logits[token] - second : Infinity;
  return { token, margin: tie ? 0 : margin, tie };
}

/** ‖(a − mean a) − (b − mean b)‖₂. */
export function centredDistance(a: FloatArray, b: FloatArray): number {
  const n = a.length;
  let mean = 0;
  for (let j = 0; j < n; j++) mean += a[j] - b[j];
  mean /= n;
  let sum = 0;
  for (let j = 0; j < n; j++) sum += (a[j] - b[j] - mean) ** 2;
  return Math.sqrt(sum);
}

/** KL(p ‖ q), JS and TV of p = softmax(uncached) and q = softmax(cached). */
export function divergences(cached: FloatArray, uncached: FloatArray): { kl: number; js: number; tv: number } {
  const n = uncached.length;
  if (!expandable(cached, uncached)) return directDivergences(cached, uncached);
  const { p, shift, logScale } = expansion(cached, uncached);
  let kl = 0;
  let tv = 0;
  let js = 0;
  for (let j = 0; j < n; j++) {
    if (p[j] === 0) continue;
    const d = cached[j] - uncached[j] - shift - logScale; // log q/p
    const change = Math.expm1(d); // q/p − 1
    // Σ p (change − d) = KL, because Σ p·change = 0; every term is ≥ 0, so nothing cancels.
    kl += p[j] * excess(d, change);
    tv += p[j] * Math.abs(change);
    js += p[j] * jsTerm(d, change);
  }
  return { kl: Math.max(0, kl), js: Math.max(0, js), tv: tv / 2 };
}

/** p = softmax(uncached), and what log q/p is d less: log q/p = d − shift − logScale. */
function expansion(cached: FloatArray, uncached: FloatArray): { p: Float64Array; shift: number; logScale: number } {
  const n = uncached.length;
  const p = softmax(uncached);
  // Shifting d by its mean under p leaves q unchanged and keeps every term small.
  let shift = 0;
  for (let j = 0; j < n; j++) shift += p[j] * (cached[j] - uncached[j]);
  let growth = 0; // Σ p (e^d − 1)
  for (let j = 0; j < n; j++) growth += p[j] * Math.expm1(cached[j] - uncached[j] - shift);
  return { p, shift, logScale: Math.log1p(growth) };
}

/** Total variation of softmax(cached / T) and softmax(uncached / T): the half Σ p |q/p − 1| of `divergences` alone. */
export function totalVariationAt(temperature: number, cached: FloatArray, uncached: FloatArray): number {
  const [c, u] = [divided(cached, temperature), divided(uncached, temperature)];
  if (!expandable(c, u)) return directDivergences(c, u).tv;
  const { p, shift, logScale } = expansion(c, u);
  let tv = 0;
  for (let j = 0; j < p.length; j++) if (p[j] !== 0) tv += p[j] * Math.abs(Math.expm1(c[j] - u[j] - shift - logScale));
  return tv / 2;
}

/** Largest difference of two logits up to which e^d is far from the ends of float64's range, whatever the shift. */
const largestDifference = 300;

/** True if all logits are finite and no two differ by much. */
function expandable(cached: FloatArray, uncached: FloatArray): boolean {
  for (let j = 0; j < uncached.length; j++) {
    // Written so that NaN fails.
    if (!(Math.abs(cached[j] - uncached[j]) <= largestDifference)) return false;
  }
  return true;
}

/** The same distances from log-softmax, for distributions that have little in common or exclude tokens. */
function directDivergences(cached: FloatArray, uncached: FloatArray): { kl: number; js: number; tv: number } {
  const logP = logSoftmax(uncached);
  const logQ = logSoftmax(cached);
  let kl = 0;
  let js = 0;
  let tv = 0;
  for (let j = 0; j < logP.length; j++) {
    const p = Math.exp(logP[j]);
    const q = Math.exp(logQ[j]);
    const logMean = Math.log((p + q) / 2);
    if (p !== 0) {
      kl += p * (logP[j] - logQ[j]);
      js += (p * (logP[j] - logMean)) / 2;
    }
    if (q !== 0) js += (q * (logQ[j] - logMean)) / 2;
    tv += Math.abs(p - q);
  }
  return { kl: Math.max(0, kl), js: Math.max(0, js), tv: tv / 2 };
}

function logSoftmax(logits: FloatArray): Float64Array {
  let max = -Infinity;
  for (let j = 0; j < logits.length; j++) if (logits[j] > max) max = logits[j];
  let sum = 0;
  for (let j = 0; j < logits.length; j++) sum += Math.exp(logits[j] - max);
  const scale = Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - max - scale);
}

/** e^d − 1 − d without cancellation near 0. */
function excess(d: number, expm1: number): number {
  if (Math.abs(d) > 1e-3) return expm1 - d;
  return d * d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d / 120)));
}

/** ½[log(2/(1+r)) + r log(2r/(1+r))] with r = q/p = e^d; ≥ 0 after adding multiples of r − 1, which sum to 0 over p. */
function jsTerm(d: number, change: number): number {
  if (Math.abs(d) <= 1e-3) return (change * change * (1 - change / 2 + (7 * change * change) / 24)) / 8;
  const r = change + 1;
  const logMean = Math.log1p(change / 2);
  return (-logMean + r * (d - logMean)) / 2;
}

/** Total variation of two distributions. */
export function totalVariation(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += Math.abs(a[j] - b[j]);
  return sum / 2;
}

/**
 * How often a Gumbel-max draw can flip at most between distributions of this total variation, under the same noise: between TV
 * and 2 TV / (1 + TV).
 */
export function flipRateBound(tv: number): number {
  return (2 * tv) / (1 + tv);
}

/** Errors of both arms to the oracle: centred L2, and the cosine between the two centred error vectors (null if one is 0). */
export function oracleErrors(
  cached: FloatArray,
  uncached: FloatArray,
  oracle: FloatArray,
): { cached: number; uncached: number; cosine: number | null } {
  const errors = { cached: centredDistance(cached, oracle), uncached: centredDistance(uncached, oracle) };
  const n = oracle.length;
  let meanC = 0;
  let meanU = 0;
  for (let j = 0; j < n; j++) {
    meanC += cached[j] - oracle[j];
    meanU += uncached[j] - oracle[j];
  }
  let dot = 0;
  for (let j = 0; j < n; j++) dot += (cached[j] - oracle[j] - meanC / n) * (uncached[j] - oracle[j] - meanU / n);
  const norms = errors.cached * errors.uncached;
  return { ...errors, cosine: norms === 0 ? null : dot / norms };
}
