/**
 * The layers architectures are made of. Each takes the graph under construction and returns a value; shapes are in the
 * trailing comments; a rounding stands where Hugging Face's half-precision code rounds (R1–R14 of its eager attention).
 */
import { type GraphBuilder, type HeadRows, sharedHeads, type Value } from './builder.ts';
import type { Place } from './rounding.ts';

/** y = x Wᵀ + b; one rounding after the float32 sum. `heads`: the rows of W and b are heads that the graph repeats. */
export function linear(
  g: GraphBuilder,
  x: Value,
  key: string,
  { place = 'linear', bias, heads }: { place?: Place; bias?: string | undefined; heads?: HeadRows } = {},
): Value {
  const product = g.op('MatMul', [x, g.linearWeight(key, heads)]);
  return g.round(bias === undefined ? product : g.op('Add', [product, g.weight(bias, heads)]), place);
}

/**
 * Root mean square norm, LLaMA's rule: normalise in float32, round, multiply by the weight, round.
 * Hooks: `{hook}.hook_scale` = sqrt(mean x² + ε), `{hook}.hook_normalized` = x / scale before weight and rounding.
 */
export function rmsNorm(g: GraphBuilder, x: Value, key: string, hook: string): Value {
  const normalized = normalize(g, x, hook);
  return g.round(g.op('Mul', [g.weight(key), g.round(normalized, 'norm')]), 'norm');
}

/** LLaMA's rule over the last axis of q or k, [batch, pos, heads, d_head], without hooks. */
export function perHeadNorm(g: GraphBuilder, x: Value, key: string): Value {
  const normalized = normalize(g, x, null);
  return g.round(g.op('Mul', [g.weight(key), g.round(normalized, 'norm')]), 'norm');
}

/** Gemma's rule: normalise and multiply by 1 + w in float32, one rounding. Hooks as `rmsNorm`. */
export function gemmaNorm(g: GraphBuilder, x: Value, key: string, hook: string): Value {
  const weight = g.op('Add', [g.scalar(1), g.weight(key)]);
  return g.round(g.op('Mul', [normalize(g, x, hook), weight]), 'norm');
}

/** x / sqrt(mean x² + ε) */
function normalize(g: GraphBuilder, x: Value, hook: string | null): Value {
  const shown = (name: string, value: Value) => (hook === null ? value : g.hook(`${hook}.${name}`, value));
  const meanSquare = g.op('ReduceMean', [g.op('Mul', [x, x])], { axes: [-1], keepdims: 1 });
  const scale = shown('hook_scale', g.op('Sqrt', [g.op('Add', [meanSquare, g.scalar(g.config.normEpsilon)])]));
  return shown('hook_normalized', g.op('Mul', [x, g.op('Reciprocal', [scale])]));
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

/**
 * silu(x) = x / (1 + exp(−x)), float32 inside, one rounding. Not x · Sigmoid(x): the runtime's Sigmoid is off by 0.2 % at
 * x = −10 and by all of its value from −16 on, several steps of a half type.
 */
export function silu(g: GraphBuilder, x: Value): Value {
  const denominator = g.op('Add', [g.scalar(1), g.op('Exp', [g.op('Neg', [x], {}, x.type)])]);
  return g.round(g.op('Div', [x, denominator]), 'mlp');
}

/**
 * gelu(x) ≈ x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), float32 inside, one rounding. tanh(u) = 2 / (1 + exp(−2u)) − 1,
 * which in float32 is right to one rounding near −1, where 1 + tanh cancels; the runtime's Tanh is off by several.
 */
export function geluTanh(g: GraphBuilder, x: Value): Value {
  const cubic = g.op('Mul', [g.op('Mul', [x, g.op('Mul', [x, x])]), g.scalar(0.044715)]);
  const inner = g.op('Mul', [g.op('Add', [x, cubic]), g.scalar(Math.sqrt(2 / Math.PI))]);
  const logistic = g.op('Add', [g.scalar(1), g.op('Exp', [g.op('Mul', [inner, g.scalar(-2)])])]);
  const tanh = g.op('Sub', [g.op('Div', [g.scalar(2), logistic]), g.scalar(1)]);
  const outer = g.op('Add', [g.scalar(1), tanh]);
  return g.round(g.op('Mul', [g.op('Mul', [x, g.scalar(0.5)]), outer]), 'mlp');
}

/** c·tanh(u / c), each operation rounded (R7, R14). */
export function softcap(g: GraphBuilder, u: Value, cap: number): Value {
  const share = g.round(g.op('Div', [u, g.scalar(cap)]), 'softcap');
  const squashed = g.round(g.op('Tanh', [share]), 'softcap');
  return g.round(g.op('Mul', [squashed, g.scalar(cap)]), 'softcap');
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

/** z = softmax(cap(q kᵀ · scale) + mask) v: [batch, pos, head, d_head]. */
export function attend(g: GraphBuilder, { query, keys, values, mask, hook }: AttentionRead): Value {
  const layout = headLayout(g, mask);
  const q = layout.foldRows(transpose(g, query, [0, 2, 1, 3]), g.config.headDim); // [batch, head, pos, d_head]
  const v = layout.shareHeads(transpose(g, values, [0, 2, 1, 3])); // [batch, head, cache, d_head]
  const multiply = g.config.headDim > largestUnblocked ? blockedProducts : products;
  const raw = layout.unfoldScores(multiply(g, q, layout, keys, mask)); // [batch, head, pos, cache]
  const { scoreScale, attentionSoftcap } = g.config;
  const scaled = g.round(g.op('Mul', [raw, g.scalar(scoreScale)]), 'scores');
  const capped = attentionSoftcap === null ? scaled : softcap(g, scaled, attentionSoftcap);
  const scores = g.hook(`${hook}.hook_attn_scores`, g.op('Add', [capped, mask], {}, capped.type));
  const pattern = g.hook(`${hook}.hook_pattern`, g.round(g.op('Softmax', [scores], { axis: -1 }), 'probabilities'));
  const z = g.round(g.op('MatMul', [layout.foldRows(pattern, 'cache'), v]), 'attention_out');
  return transpose(g, layout.unfoldOutput(z), [0, 2, 1, 3]);
}

/** [pos, cache] as int64. */
function maskSizes(g: GraphBuilder, mask: Value): Value {
  return g.once(`sizes of ${mask.name}`, () => g.op('Shape', [mask]));
}

/** [cache] as int64: how many keys there are. */
function cacheLength(g: GraphBuilder, mask: Value): Value {
  return g.once(`length of ${mask.name}`, () => g.op('Gather', [maskSizes(g, mask), g.integers([1])], { axis: 0 }));
}

/** q kᵀ in one matmul per head. */
function products(g: GraphBuilder, q: Value, layout: HeadLayout, keys: Value): Value {
  const k = layout.shareHeads(transpose(g, keys, [0, 2, 3, 1])); // [batch, head, d_head, cache]
  return g.round(g.op('MatMul', [q, k]), 'scores');
}

/** Above this head size a matmul's sums depend on the number of keys, so that two rows no longer equal all rows. */
const largestUnblocked = 128;
const blockRows = 64;

/** q kᵀ with the keys in blocks of 64 rows, the last one padded with zeros: the same sums whatever the number of keys. */
function blockedProducts(g: GraphBuilder, q: Value, layout: HeadLayout, keys: Value, mask: Value): Value {
  const { headDim } = g.config;
  const k = layout.shareHeads(transpose(g, keys, [0, 2, 1, 3])); // [batch, head, cache, d_head]
  const length = cacheLength(g, mask);
  const size = g.integers([blockRows]);
  const blocks = g.op('Div', [g.op('Add', [length, g.integers([blockRows - 1])]), size]);
  const missing = g.op('Sub', [g.op('Mul', [blocks, size]), length]);
  const pads = g.op('Concat', [g.integers([0, 0, 0, 0, 0, 0]), missing, g.integers([0])], { axis: 0 });
  const padded = g.op('Pad', [k, pads], {}, k.type);
  const inBlocks = g.op('Reshape', [padded, g.integers([0, 0, -1, blockRows, headDim])], {}, k.type);
  const right = transpose(g, inBlocks, [0, 1, 2, 4, 3]); // [batch, head, block, d_head, 64]
  const left = g.op('Reshape', [q, g.integers([0, 0, 1, -1, headDim])], {}, q.type);
  const found = g.round(g.op('MatMul', [left, right]), 'scores'); // [batch, head, block, pos, 64]
  const joined = g.op('Reshape', [transpose(g, found, [0, 1, 3, 2, 4]), g.integers([0, 0, 0, -1])], {}, found.type);
  return g.op('Slice', [joined, g.integers([0]), length, g.integers([3])], {}, found.type);
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
    const sizes = maskSizes(g, mask);
    const cache = cacheLength(g, mask);
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
  const sources = g.integers(sharedHeads(heads, kvHeads));
  const shareHeads = (x: Value) => g.op('Gather', [x, sources], { axis: 1 }, x.type);
  return { foldRows: same, shareHeads, unfoldScores: same, unfoldOutput: same };
}
