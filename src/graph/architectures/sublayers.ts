/** Attention and MLP as all supported families share them; what differs between families is in the configuration. */

import { attend } from '../attention.ts';
import type { GraphBuilder, HeadRows, Value } from '../builder.ts';
import { geluTanh, linear, perHeadNorm, rotate, silu, splitHeads } from '../layers.ts';
import type { BlockInputs } from './architecture.ts';

/** Rows of the embedding: [batch, pos, d_model]. */
export function embeddingRows(g: GraphBuilder, tokens: Value): Value {
  const table = g.stored('model.embed_tokens.weight');
  return g.convert(g.op('Gather', [table, tokens], { axis: 0 }, table.type));
}

/** o(softmax(R(q) R(k)ᵀ · scale) v): [batch, pos, d_model]. */
export function attention(g: GraphBuilder, layer: number, x: Value, inputs: BlockInputs): Value {
  const { heads, kvHeads, storedKvHeads, attentionBias, queryKeyNorm } = g.config;
  const weights = `model.layers.${layer}.self_attn`;
  const hook = `blocks.${layer}.attn`;
  const project = (name: 'q' | 'k' | 'v', rows: HeadRows) => {
    const bias = attentionBias ? `${weights}.${name}_proj.bias` : undefined;
    return g.hook(
      `${hook}.hook_${name}`,
      splitHeads(g, linear(g, x, `${weights}.${name}_proj.weight`, 'qkv', { bias, heads: rows }), rows.used),
    );
  };
  const normed = (name: 'q' | 'k', value: Value) =>
    queryKeyNorm
      ? g.hook(`${hook}.${name}_norm.hook_out`, perHeadNorm(g, value, `${weights}.${name}_norm.weight`))
      : value;
  // A model expanded to multi-head attention repeats the K/V heads its checkpoint stores.
  const shared = { stored: storedKvHeads, used: kvHeads };
  const query = project('q', { stored: heads, used: heads }); // [batch, pos, head, d_head]
  const key = project('k', shared);
  const value = project('v', shared);
  const rotatedQuery = g.hook(`${hook}.hook_rot_q`, rotate(g, normed('q', query), inputs.cos, inputs.sin));
  const rotatedKey = g.hook(`${hook}.hook_rot_k`, rotate(g, normed('k', key), inputs.cos, inputs.sin));
  const { keys, values } = inputs.readCache(rotatedKey, value); // [batch, cache, kv_head, d_head]
  const z = g.hook(`${hook}.hook_z`, attend(g, { query: rotatedQuery, keys, values, mask: inputs.mask, hook }));
  perHeadResult(g, `${hook}.hook_result`, z, `${weights}.o_proj.weight`);
  return linear(g, g.op('Reshape', [z, g.integers([0, 0, -1])], {}, z.type), `${weights}.o_proj.weight`, 'o');
}

/** Each head's own contribution to o, only where asked for: [batch, pos, head, d_model]. */
function perHeadResult(g: GraphBuilder, name: string, z: Value, key: string): void {
  if (!g.wants(name)) return;
  const { heads, headDim, hiddenSize } = g.config;
  const perHead = g.op('Reshape', [g.linearWeight(key), g.integers([heads, headDim, hiddenSize])]);
  const product = g.op('MatMul', [g.op('Transpose', [z], { perm: [0, 2, 1, 3] }, z.type), perHead]);
  g.hook(name, g.op('Transpose', [product], { perm: [0, 2, 1, 3] }));
}

/** down(act(gate x) ⊙ up x): [batch, pos, d_model]. */
export function mlp(g: GraphBuilder, layer: number, x: Value): Value {
  const weights = `model.layers.${layer}.mlp`;
  const hook = `blocks.${layer}.mlp`;
  const activation = g.config.activation === 'silu' ? silu : geluTanh;
  const gate = g.hook(`${hook}.hook_pre`, linear(g, x, `${weights}.gate_proj.weight`, 'mlp')); // [batch, pos, d_mlp]
  const up = g.hook(`${hook}.hook_pre_linear`, linear(g, x, `${weights}.up_proj.weight`, 'mlp'));
  const hidden = g.hook(`${hook}.hook_post`, g.round(g.op('Mul', [activation(g, gate), up]), 'mlp'));
  return linear(g, hidden, `${weights}.down_proj.weight`, 'mlp');
}

/** Key of the output matrix: the embedding's own where they are tied. */
export function headKey({ config }: GraphBuilder): string {
  return config.tiedEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
}
