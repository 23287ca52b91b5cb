/**
 * The layers architectures are made of. Each takes the graph under construction and returns a value; shapes are in the
 * trailing comments; a rounding stands where Hugging Face's half-precision code rounds (R1–R14 of its eager attention).
 */
import type { GraphBuilder, Value } from './builder.ts';
import type { Place } from './rounding.ts';

/** y = x Wᵀ; one rounding after the float32 sum. */
export function linear(g: GraphBuilder, x: Value, key: string, place: Place = 'linear'): Value {
  return g.round(g.op('MatMul', [x, g.linearWeight(key)]), place);
}

/**
 * Root mean square norm, LLaMA's rule: normalise in float32, round, multiply by the weight, round.
 * Hooks: `{hook}.hook_scale` = sqrt(mean x² + ε), `{hook}.hook_normalized` = x / scale before weight and rounding.
 */
export function rmsNorm(g: GraphBuilder, x: Value, key: string, hook: string): Value {
  const meanSquare = g.op('ReduceMean', [g.op('Mul', [x, x])], { axes: [-1], keepdims: 1 });
  const scale = g.hook(`${hook}.hook_scale`, g.op('Sqrt', [g.op('Add', [meanSquare, g.scalar(g.config.normEpsilon)])]));
  const normalized = g.hook(`${hook}.hook_normalized`, g.op('Mul', [x, g.op('Reciprocal', [scale])]));
  return g.round(g.op('Mul', [g.weight(key), g.round(normalized, 'norm')]), 'norm');
}

/** Split the last axis into heads: [batch, pos, heads · d_head] → [batch, pos, heads, d_head]. */
export function splitHeads(g: GraphBuilder, x: Value, heads: number): Value {
  return g.op('Reshape', [x, g.integers([0, 0, heads, g.config.headDim])], {}, x.type);
}

/**
 * Rotary position embedding in half-split order: R(x) = x·cos + rot(x)·sin, rot(x) = (−x₂, x₁); three roundings.
 * @param x [batch, pos, heads, d_head]
 * @param cos, sin [1, pos, 1, d_head], both halves equal
 */
export function rotate(g: GraphBuilder, x: Value, cos: Value, sin: Value): Value {
  const half = g.config.headDim / 2;
  const [first, second] = g.ops('Split', [x, g.integers([half, half])], 2, { axis: -1 }, x.type);
  const turned = g.op('Concat', [g.op('Neg', [second], {}, x.type), first], { axis: -1 }, x.type);
  const straight = g.round(g.op('Mul', [x, cos]), 'rotary');
  const crossed = g.round(g.op('Mul', [turned, sin]), 'rotary');
  return g.round(g.op('Add', [straight, crossed]), 'rotary');
}

/** silu(x) = x · sigmoid(x), float32 inside, one rounding. */
export function silu(g: GraphBuilder, x: Value): Value {
  return g.round(g.op('Mul', [x, g.op('Sigmoid', [x])]), 'mlp');
}

/** x + y, rounded to the residual stream's type. */
export function addResidual(g: GraphBuilder, x: Value, y: Value): Value {
  return g.round(g.op('Add', [x, y]), 'residual');
}

/** What attention reads, and where its hooks go. */
export interface AttentionRead {
  /** [batch, pos, head, d_head], after rotary. */
  query: Value;
  /** [batch, cache, kv_head, d_head], the rows attention reads. */
  keys: Value;
  /** [batch, cache, kv_head, d_head] */
  values: Value;
  /** [pos, cache], 0 where visible and −inf where not. */
  mask: Value;
  /** Prefix of the hooks, `blocks.{i}.attn`. */
  hook: string;
}

/** z = softmax(q kᵀ / √d_head + mask) v: [batch, pos, head, d_head]. */
export function attend(g: GraphBuilder, { query, keys, values, mask, hook }: AttentionRead): Value {
  const layout = headLayout(g, mask);
  const q = layout.foldRows(transpose(g, query, [0, 2, 1, 3]), g.config.headDim); // [batch, head, pos, d_head]
  const k = layout.shareHeads(transpose(g, keys, [0, 2, 3, 1])); // [batch, head, d_head, cache]
  const v = layout.shareHeads(transpose(g, values, [0, 2, 1, 3])); // [batch, head, cache, d_head]
  const products = layout.unfoldScores(g.round(g.op('MatMul', [q, k]), 'scores')); // [batch, head, pos, cache]
  const scaled = g.round(g.op('Mul', [products, g.scalar(g.config.headDim ** -0.5)]), 'scores');
  const scores = g.hook(`${hook}.hook_attn_scores`, g.op('Add', [scaled, mask], {}, scaled.type));
  const pattern = g.hook(`${hook}.hook_pattern`, g.round(g.op('Softmax', [scores], { axis: -1 }), 'probabilities'));
  const z = g.round(g.op('MatMul', [layout.foldRows(pattern, 'cache'), v]), 'attention_out');
  return transpose(g, layout.unfoldOutput(z), [0, 2, 1, 3]);
}

function transpose(g: GraphBuilder, x: Value, perm: number[]): Value {
  return g.op('Transpose', [x], { perm }, x.type);
}

/** How query heads meet the K/V heads they share. */
interface HeadLayout {
  /** [batch, head, pos, x] → the left operand of a matmul. */
  foldRows(x: Value, lastAxis: number | 'cache'): Value;
  /** [batch, kv_head, …] → the right operand. */
  shareHeads(x: Value): Value;
  /** A product back to [batch, head, pos, cache]. */
  unfoldScores(x: Value): Value;
  /** A product back to [batch, head, pos, d_head]. */
  unfoldOutput(x: Value): Value;
}

function headLayout(g: GraphBuilder, mask: Value): HeadLayout {
  const { heads, kvHeads, headDim } = g.config;
  const group = heads / kvHeads;
  const same = (x: Value) => x;
  if (group === 1) return { foldRows: same, shareHeads: same, unfoldScores: same, unfoldOutput: same };
  const reshape = (x: Value, shape: Value) => g.op('Reshape', [x, shape], {}, x.type);
  if (g.kernel.attention === 'folded') {
    // [batch, kv_head, group · pos, x]: the query heads of a group become rows of one matmul.
    const sizes = g.op('Shape', [mask]); // [pos, cache]
    const cache = g.op('Gather', [sizes, g.integers([1])], { axis: 0 });
    return {
      foldRows: (x, lastAxis) =>
        lastAxis === 'cache'
          ? reshape(x, g.op('Concat', [g.integers([0, kvHeads, -1]), cache], { axis: 0 }))
          : reshape(x, g.integers([0, kvHeads, -1, lastAxis])),
      shareHeads: same,
      unfoldScores: (x) => reshape(x, g.op('Concat', [g.integers([0, heads]), sizes], { axis: 0 })),
      unfoldOutput: (x) => reshape(x, g.integers([0, heads, -1, headDim])),
    };
  }
  // One matmul per query head: query head j reads a copy of K/V head floor(j · kvHeads / heads).
  const sources = g.integers(Array.from({ length: heads }, (_, head) => Math.floor(head / group)));
  const shareHeads = (x: Value) => g.op('Gather', [x, sources], { axis: 1 }, x.type);
  return { foldRows: same, shareHeads, unfoldScores: same, unfoldOutput: same };
}
