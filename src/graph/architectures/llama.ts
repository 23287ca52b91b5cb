/**
 * LLaMA (Touvron et al. 2023; Hugging Face `modeling_llama.py`): pre-norm blocks, rotary multi-head or grouped-query
 * attention, SwiGLU.
 *
 *   n = RMS(x);  q, k, v = linear(n);  q, k = R(q), R(k);  z = softmax(q kᵀ/√d + mask) v
 *   x = x + o(z);  n = RMS(x);  x = x + down(silu(gate n) ⊙ up n);  logits = head(RMS(x))
 */
import type { GraphBuilder, Value } from '../builder.ts';
import { addResidual, linear, rmsNorm } from '../layers.ts';
import type { Architecture, BlockInputs } from './architecture.ts';
import { attention, embeddingRows, headKey, mlp } from './sublayers.ts';

function embed(g: GraphBuilder, tokens: Value): Value {
  const rows = g.round(embeddingRows(g, tokens), 'embedding');
  return g.hook('hook_embed', g.widen(rows, 'embedding')); // [batch, pos, d_model]
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

function unembed(g: GraphBuilder, x: Value): Value {
  const normalized = rmsNorm(g, x, 'model.norm.weight', 'ln_final');
  const logits = g.hook('unembed.hook_out', linear(g, normalized, headKey(g), 'head', { place: 'logits' }));
  return g.hook('logits', logits); // [batch, pos, d_vocab]
}

export const llama: Architecture = { embed, block, unembed };
