/**
 * Attention over the rows of the cache: q kᵀ, softmax, pattern · v, with the head layout the kernel asks for; a rounding stands
 * where Hugging Face's half-precision code rounds (R1–R14 of its eager attention).
 */
import { type GraphBuilder, sharedHeads, type Value } from './builder.ts';
import { cacheLength, fullBlocks, maskSizes, padded } from './keys.ts';
import { softcap } from './layers.ts';
import { keyProduct, product } from './product.ts';
import { splitKvOutput } from './split-kv.ts';

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
  const z =
    g.kernel.splitKv === undefined
      ? weighed(g, scores, v, layout, mask, hook)
      : split(g, scores, v, layout, mask, hook);
  return transpose(g, layout.unfoldOutput(g.round(z, 'attention_out')), [0, 2, 1, 3]);
}

/** pattern · v, the softmax over all keys at once. */
function weighed(g: GraphBuilder, scores: Value, v: Value, layout: HeadLayout, mask: Value, hook: string): Value {
  const pattern = g.hook(`${hook}.hook_pattern`, g.round(g.op('Softmax', [scores], { axis: -1 }), 'probabilities'));
  return keyProduct(g, layout.foldRows(pattern, 'cache'), v, mask);
}

/** The same over chunks of keys; the pattern is computed beside it, and only where it is asked for. */
function split(g: GraphBuilder, scores: Value, v: Value, layout: HeadLayout, mask: Value, hook: string): Value {
  const { output, pattern } = splitKvOutput(g, layout.foldRows(scores, 'cache'), v, mask);
  const name = `${hook}.hook_pattern`;
  if (g.wants(name)) g.hook(name, g.round(layout.unfoldScores(pattern()), 'probabilities'));
  return output;
}

/** q kᵀ in one matmul per head. */
function products(g: GraphBuilder, q: Value, layout: HeadLayout, keys: Value): Value {
  const k = layout.shareHeads(transpose(g, keys, [0, 2, 3, 1])); // [batch, head, d_head, cache]
  return g.round(product(g, 'scores', q, k, scoreShape(g)), 'scores');
}

/** Above this head size a matmul's sums depend on the number of keys, so that two rows no longer equal all rows. */
const largestUnblocked = 128;
const blockRows = 64;

/** q kᵀ with the keys in blocks of 64 rows, the last one padded with zeros: the same sums whatever the number of keys. */
function blockedProducts(g: GraphBuilder, q: Value, layout: HeadLayout, keys: Value, mask: Value): Value {
  const { headDim } = g.config;
  const k = layout.shareHeads(transpose(g, keys, [0, 2, 1, 3])); // [batch, head, cache, d_head]
  const length = cacheLength(g, mask);
  const filled = padded(g, k, [0, 0, 0, 0, 0, 0, fullBlocks(g, length, blockRows).missing, 0]);
  const inBlocks = g.op('Reshape', [filled, g.integers([0, 0, -1, blockRows, headDim])], {}, k.type);
  const right = transpose(g, inBlocks, [0, 1, 2, 4, 3]); // [batch, head, block, d_head, 64]
  const left = g.op('Reshape', [q, g.integers([0, 0, 1, -1, headDim])], {}, q.type);
  const found = g.round(product(g, 'scores', left, right, scoreShape(g)), 'scores'); // [batch, head, block, pos, 64]
  const joined = g.op('Reshape', [transpose(g, found, [0, 1, 3, 2, 4]), g.integers([0, 0, 0, -1])], {}, found.type);
  return g.op('Slice', [joined, g.integers([0]), length, g.integers([3])], {}, found.type);
}

/** What the class `scores` sums over. */
function scoreShape({ config }: GraphBuilder) {
  return { depth: config.headDim, place: 'scores' } as const;
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
