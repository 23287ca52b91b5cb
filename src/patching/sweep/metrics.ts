/** What a patched run is judged by: numbers from logits. Pure functions in float64. */
import type { NdArray } from 'ndarray';
import { centredDistance, divergences } from '../../divergence/metrics/logits.ts';
import { UsageError } from '../../errors.ts';
import type { FloatArray } from '../../model/arrays.ts';

/** A number from logits, and which rows of them it needs: a sweep computes no others. */
export interface LogitMetric {
  name: string;
  /** Positions, negative from the end; `all`: every row. */
  reads: readonly number[] | 'all';
  /** @param logits [1, reads, d_vocab], in the order of `reads` */
  evaluate(logits: NdArray<FloatArray>): number;
}

/** A metric, or any function of all logits, [1, pos, d_vocab]. */
export type PatchMetric = LogitMetric | ((logits: NdArray<FloatArray>) => number);

/** A function as a metric that reads all rows. */
export function asMetric(metric: PatchMetric): LogitMetric {
  if (typeof metric !== 'function') return metric;
  return { name: metric.name === '' ? 'custom' : metric.name, reads: 'all', evaluate: metric };
}

/** logit(answer) − logit(wrong) at one position; default the last. */
export function logitDiff(answer: number, wrong: number, { position = -1 } = {}): LogitMetric {
  return {
    name: 'logit-diff',
    reads: [position],
    evaluate: (logits) => {
      for (const token of [answer, wrong]) checkToken(token, logits.shape[2]);
      return logits.get(0, 0, answer) - logits.get(0, 0, wrong);
    },
  };
}

/** KL(clean ‖ patched) of the next-token distributions at one position, in nats; default the last. */
export function klDivergence(cleanLogits: NdArray<FloatArray>, { position = -1 } = {}): LogitMetric {
  const clean = logitsRow(cleanLogits, position);
  return {
    name: 'kl-divergence',
    reads: [position],
    evaluate: (logits) => divergences(logitsRow(logits, 0), clean).kl,
  };
}

/** L2 norm of the difference of mean-centred logits to the clean run's, at one position; default the last. */
export function logitDistance(cleanLogits: NdArray<FloatArray>, { position = -1 } = {}): LogitMetric {
  const clean = logitsRow(cleanLogits, position);
  return {
    name: 'logit-distance',
    reads: [position],
    evaluate: (logits) => centredDistance(logitsRow(logits, 0), clean),
  };
}

/**
 * (value − corrupted) / (clean − corrupted): 0 where the patch changes nothing, 1 where it restores the clean run's metric.
 * Null if the two baselines are equal: there is nothing to recover.
 */
export function recovery(value: number, { clean, corrupted }: { clean: number; corrupted: number }): number | null {
  return clean === corrupted ? null : (value - corrupted) / (clean - corrupted);
}

/** One row of logits [1, pos, d_vocab] as an array; negative positions count from the end. */
export function logitsRow(logits: NdArray<FloatArray>, position: number): FloatArray {
  const [, rows, vocabulary] = logits.shape;
  const row = positionIn(rows, position);
  const result = logits.data instanceof Float64Array ? new Float64Array(vocabulary) : new Float32Array(vocabulary);
  for (let token = 0; token < vocabulary; token++) result[token] = logits.get(0, row, token);
  return result;
}

/** An absolute position. @throws UsageError outside of the sequence. */
export function positionIn(length: number, position: number): number {
  const row = position < 0 ? position + length : position;
  if (Number.isInteger(row) && row >= 0 && row < length) return row;
  throw new UsageError(`position: found ${position}, expected ${-length} … ${length - 1}`);
}

function checkToken(token: number, vocabulary: number): void {
  if (Number.isInteger(token) && token >= 0 && token < vocabulary) return;
  throw new UsageError(`metric: found token id ${token}, expected 0 … ${vocabulary - 1}`);
}
