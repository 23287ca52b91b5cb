/**
 * Softmax and pattern · v over chunks of keys, as flash-decoding computes a decode step (Dao, Haziza, Massa, Sizov 2023,
 * "Flash-Decoding for long-context inference"; the combination is FlashAttention's `combine_attn_seqk_parallel`).
 *
 *   m_c = max_j s_j;  p_j = exp(s_j − m_c);  l_c = Σ p_j;  o_c = (p v)_c / l_c;  lse_c = m_c + log l_c   per chunk c
 *   lse = log Σ_c exp(lse_c);  z = Σ_c exp(lse_c − lse) o_c
 *
 * All of it in the compute type but p, which is rounded at place `probabilities` before it meets v, as the GPU's kernel
 * converts it for its matrix units (l_c sums the unrounded p); the caller rounds z at `attention_out`. Chunks are aligned
 * to position 0 and the last one is filled up. A chunk that is masked whole has m_c = −∞: it then gives p = 0, o_c = 0 and
 * the weight exp(−∞) = 0.
 */
import { formats } from '../numerics/types.ts';
import type { GraphBuilder, Value } from './builder.ts';
import { cacheLength, fullBlocks, padded } from './keys.ts';
import { repeatedRows } from './product.ts';

/** z, unrounded, and the whole pattern that it amounts to: emitted only if it is called, since z does not read it. */
export interface SplitKv {
  /** [batch, head, rows, d_head] */
  output: Value;
  /** [batch, head, rows, cache] */
  pattern: () => Value;
}

/**
 * @param scores [batch, head, rows, cache], masked
 * @param v [batch, head, cache, d_head]
 * @param mask whose last axis is the keys
 */
export function splitKvOutput(g: GraphBuilder, scores: Value, v: Value, mask: Value): SplitKv {
  const chunk = g.kernel.splitKv!;
  const length = cacheLength(g, mask);
  const { missing } = fullBlocks(g, length, chunk);
  const reshape = (x: Value, shape: number[]) => g.op('Reshape', [x, g.integers(shape)], {}, x.type);

  const filled = padded(g, scores, [0, 0, 0, 0, 0, 0, 0, missing], g.scalar(-Infinity));
  const s = reshape(filled, [0, 0, 0, -1, chunk]); // [batch, head, rows, chunk, key]
  // −∞ − (−∞) is NaN: a chunk without a visible key gets the lowest finite maximum instead.
  const lowest = g.scalar(-formats.f32.maxFinite);
  const m = g.op('Max', [g.op('ReduceMax', [s], { axes: [-1], keepdims: 1 }), lowest]);
  // Chunks before rows: where the runtime's optimizer would put these transpositions, so that it moves none.
  const swapped = (x: Value) => g.op('Transpose', [x], { perm: [0, 1, 3, 2, 4] }, x.type);
  const maximum = swapped(m); // [batch, head, chunk, rows, 1]
  const p = swapped(g.op('Exp', [g.op('Sub', [s, m])])); // [batch, head, chunk, rows, key]
  const l = g.op('ReduceSum', [p, g.integers([-1])], { keepdims: 1 });
  const values = reshape(padded(g, v, [0, 0, 0, 0, 0, 0, missing, 0]), [0, 0, -1, chunk, g.config.headDim]);
  const sums = repeatedRows(g, 'values', g.round(p, 'probabilities'), (x) => g.op('MatMul', [x, values]));
  // A visible chunk holds exp(0) = 1; one without a visible key has l = 0 and must not divide by it.
  const divisor = g.op('Max', [l, g.scalar(1)]);
  const o = g.op('Div', [sums, divisor]); // [batch, head, chunk, rows, d_head]

  const lse = g.op('Add', [maximum, g.op('Log', [l])]);
  const top = g.op('ReduceMax', [lse], { axes: [2], keepdims: 1 });
  const overChunks = (x: Value, keepdims: number) => g.op('ReduceSum', [x, g.integers([2])], { keepdims });
  const total = g.op('Log', [overChunks(g.op('Exp', [g.op('Sub', [lse, top])]), 1)]);
  const weight = g.op('Exp', [g.op('Sub', [lse, g.op('Add', [top, total])])]);
  const pattern = () => {
    const share = swapped(g.op('Mul', [g.op('Div', [p, divisor]), weight]));
    return g.op('Slice', [reshape(share, [0, 0, 0, -1]), g.integers([0]), length, g.integers([3])]);
  };
  return { output: overChunks(g.op('Mul', [o, weight]), 0), pattern };
}
