/**
 * LLaMA (Touvron et al. 2023; Hugging Face `modeling_llama.py`): pre-norm blocks, rotary multi-head or grouped-query
 * attention, SwiGLU.
 *
 *   n = RMS(x);  q, k, v = linear(n);  q, k = R(q), R(k);  z = softmax(q kᵀ/√d + mask) v
 *   x = x + o(z);  n = RMS(x);  x = x + down(silu(gate n) ⊙ up n);  logits = head(RMS(x))
 */
import type { GraphBuilder, Value } from '../builder.ts';
import { addResidual, attend, linear, rmsNorm, rotate, silu, splitHeads } from '../layers.ts';
import type { Architecture, BlockInputs } from './architecture.ts';

function embed(g: GraphBuilder, tokens: Value): Value {
  const rows = g.op(
    'Gather',
    [g.stored('model.embed_tokens.weight'), tokens],
    { axis: 0 },
    g.stored('model.embed_tokens.weight').type,
  );
  return g.hook('hook_embed', g.widen(g.round(g.convert(rows), 'embedding'), 'embedding')); // [batch, pos, d_model]
}

function block(g: GraphBuilder, layer: number, x: Value, inputs: BlockInputs): Value {
  const weights = `model.layers.${layer}`;
  const hook = `blocks.${layer}`;
  const attentionIn = rmsNorm(g, x, `${weights}.input_layernorm.weight`, `${hook}.ln1`);
  const attentionOut = g.hook(`${hook}.hook_attn_out`, attention(g, layer, attentionIn, inputs));
  const middle = g.hook(`${hook}.hook_resid_mid`, addResidual(g, x, attentionOut));
  const mlpIn = rmsNorm(g, middle, `${weights}.post_attention_layernorm.weight`, `${hook}.ln2`);
  const mlpOut = g.hook(`${hook}.hook_mlp_out`, mlp(g, layer, mlpIn));
  return g.hook(`${hook}.hook_resid_post`, addResidual(g, middle, mlpOut)); // [batch, pos, d_model]
}

function attention(g: GraphBuilder, layer: number, x: Value, inputs: BlockInputs): Value {
  const { heads, kvHeads } = g.config;
  const weights = `model.layers.${layer}.self_attn`;
  const hook = `blocks.${layer}.attn`;
  const project = (name: 'q' | 'k' | 'v', count: number) =>
    g.hook(`${hook}.hook_${name}`, splitHeads(g, linear(g, x, `${weights}.${name}_proj.weight`), count));
  const query = project('q', heads); // [batch, pos, head, d_head]
  const key = project('k', kvHeads);
  const value = project('v', kvHeads);
  const rotatedQuery = g.hook(`${hook}.hook_rot_q`, rotate(g, query, inputs.cos, inputs.sin));
  const rotatedKey = g.hook(`${hook}.hook_rot_k`, rotate(g, key, inputs.cos, inputs.sin));
  const { keys, values } = inputs.readCache(rotatedKey, value); // [batch, cache, kv_head, d_head]
  const z = g.hook(`${hook}.hook_z`, attend(g, { query: rotatedQuery, keys, values, mask: inputs.mask, hook }));
  perHeadResult(g, `${hook}.hook_result`, z, `${weights}.o_proj.weight`);
  return linear(g, g.op('Reshape', [z, g.integers([0, 0, -1])], {}, z.type), `${weights}.o_proj.weight`);
}

/** Each head's own contribution to attn_out, only where asked for: [batch, pos, head, d_model]. */
function perHeadResult(g: GraphBuilder, name: string, z: Value, key: string): void {
  if (!g.wants(name)) return;
  const { heads, headDim, hiddenSize } = g.config;
  const perHead = g.op('Reshape', [g.linearWeight(key), g.integers([heads, headDim, hiddenSize])]);
  const product = g.op('MatMul', [g.op('Transpose', [z], { perm: [0, 2, 1, 3] }, z.type), perHead]);
  g.hook(name, g.op('Transpose', [product], { perm: [0, 2, 1, 3] }));
}

function mlp(g: GraphBuilder, layer: number, x: Value): Value {
  const weights = `model.layers.${layer}.mlp`;
  const hook = `blocks.${layer}.mlp`;
  const gate = g.hook(`${hook}.hook_pre`, linear(g, x, `${weights}.gate_proj.weight`)); // [batch, pos, d_mlp]
  const up = g.hook(`${hook}.hook_pre_linear`, linear(g, x, `${weights}.up_proj.weight`));
  const hidden = g.hook(`${hook}.hook_post`, g.round(g.op('Mul', [silu(g, gate), up]), 'mlp'));
  return linear(g, hidden, `${weights}.down_proj.weight`);
}

function unembed(g: GraphBuilder, x: Value): Value {
  const normalized = rmsNorm(g, x, 'model.norm.weight', 'ln_final');
  const head = g.config.tiedEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const logits = g.hook('unembed.hook_out', linear(g, normalized, head, 'logits'));
  return g.hook('logits', logits); // [batch, pos, d_vocab]
}

export const llama: Architecture = { embed, block, unembed };
