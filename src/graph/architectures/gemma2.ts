/**
 * Gemma-2 (Gemma Team 2024; Hugging Face `modeling_gemma2.py`, eager attention). What differs from LLaMA: the embedding is
 * scaled by √d; norms multiply by 1 + w and stand before and after each sublayer; scores and logits are soft-capped,
 * cap(u) = c·tanh(u/c); GELU (tanh) instead of SiLU; even layers slide.
 *
 *   x = E·√d;  x = x + N(o(z(N(x))));  x = x + N(down(gelu(gate n) ⊙ up n)), n = N(x);  logits = cap(head(N(x)))
 */
import type { GraphBuilder, Value } from '../builder.ts';
import { addResidual, gemmaNorm, linear, softcap } from '../layers.ts';
import type { Architecture, BlockInputs } from './architecture.ts';
import { attention, embeddingRows, headKey, mlp } from './sublayers.ts';

function embed(g: GraphBuilder, tokens: Value): Value {
  const rows = g.round(embeddingRows(g, tokens), 'embedding');
  // The scale is a number of the model's own type: √2304 = 48 exactly, other widths round.
  const scaled = g.op('Mul', [rows, g.scalarAt(Math.sqrt(g.config.hiddenSize), 'weights')]);
  return g.hook('hook_embed', g.round(scaled, 'embedding')); // [batch, pos, d_model]
}

function block(g: GraphBuilder, layer: number, x: Value, inputs: BlockInputs): Value {
  const weights = `model.layers.${layer}`;
  const hook = `blocks.${layer}`;
  const norm = (value: Value, name: string, at: string) =>
    gemmaNorm(g, value, `${weights}.${name}_layernorm.weight`, `${hook}.${at}`);
  const attentionIn = norm(x, 'input', 'ln1');
  const attentionOut = norm(attention(g, layer, attentionIn, inputs), 'post_attention', 'ln1_post');
  const middle = g.hook(`${hook}.hook_resid_mid`, addResidual(g, x, g.hook(`${hook}.hook_attn_out`, attentionOut)));
  const mlpIn = norm(middle, 'pre_feedforward', 'ln2');
  const mlpOut = norm(mlp(g, layer, mlpIn), 'post_feedforward', 'ln2_post');
  const sum = addResidual(g, middle, g.hook(`${hook}.hook_mlp_out`, mlpOut));
  return g.hook(`${hook}.hook_resid_post`, sum); // [batch, pos, d_model]
}

function unembed(g: GraphBuilder, x: Value): Value {
  const normalized = gemmaNorm(g, x, 'model.norm.weight', 'ln_final');
  const logits = g.hook('unembed.hook_out', linear(g, normalized, headKey(g), 'head', { place: 'logits' }));
  const { finalSoftcap } = g.config;
  return g.hook('logits', finalSoftcap === null ? logits : softcap(g, logits, finalSoftcap)); // [batch, pos, d_vocab]
}

export const gemma2: Architecture = { embed, block, unembed };
