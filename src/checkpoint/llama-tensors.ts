/** The tensors a LLaMA checkpoint must hold, with their shapes. */
import type { ModelConfig } from './types.ts';

/** Checkpoint key → shape; linear weights are [out, in]. */
export function llamaTensors(config: ModelConfig): Map<string, number[]> {
  const { hiddenSize: d, intermediateSize: f, vocabSize: v, heads, kvHeads, headDim } = config;
  const tensors = new Map<string, number[]>([['model.embed_tokens.weight', [v, d]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const add = (suffix: string, shape: number[]) => tensors.set(`model.layers.${layer}.${suffix}.weight`, shape);
    add('input_layernorm', [d]);
    add('self_attn.q_proj', [heads * headDim, d]);
    add('self_attn.k_proj', [kvHeads * headDim, d]);
    add('self_attn.v_proj', [kvHeads * headDim, d]);
    add('self_attn.o_proj', [d, heads * headDim]);
    add('post_attention_layernorm', [d]);
    add('mlp.gate_proj', [f, d]);
    add('mlp.up_proj', [f, d]);
    add('mlp.down_proj', [d, f]);
  }
  tensors.set('model.norm.weight', [d]);
  if (!config.tiedEmbeddings) tensors.set('lm_head.weight', [v, d]);
  return tensors;
}
