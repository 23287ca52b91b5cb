/** The tensors a checkpoint must hold, with their shapes. */
import type { ModelConfig } from './types.ts';

/** Checkpoint key → shape; linear weights are [out, in]. */
export function requiredTensors(config: ModelConfig): Map<string, number[]> {
  const { hiddenSize: d, intermediateSize: f, vocabSize: v, heads, storedKvHeads, headDim } = config;
  const tensors = new Map<string, number[]>([['model.embed_tokens.weight', [v, d]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const add = (suffix: string, shape: number[]) => tensors.set(`model.layers.${layer}.${suffix}`, shape);
    add('input_layernorm.weight', [d]);
    for (const [name, count] of [
      ['q', heads],
      ['k', storedKvHeads],
      ['v', storedKvHeads],
    ] as const) {
      add(`self_attn.${name}_proj.weight`, [count * headDim, d]);
      if (config.attentionBias) add(`self_attn.${name}_proj.bias`, [count * headDim]);
    }
    if (config.queryKeyNorm) {
      add('self_attn.q_norm.weight', [headDim]);
      add('self_attn.k_norm.weight', [headDim]);
    }
    add('self_attn.o_proj.weight', [d, heads * headDim]);
    // Before the MLP in most families; on attention's output, before the residual sum, in Gemma-2.
    add('post_attention_layernorm.weight', [d]);
    if (config.modelType === 'gemma2') {
      add('pre_feedforward_layernorm.weight', [d]);
      add('post_feedforward_layernorm.weight', [d]);
    }
    add('mlp.gate_proj.weight', [f, d]);
    add('mlp.up_proj.weight', [f, d]);
    add('mlp.down_proj.weight', [d, f]);
  }
  tensors.set('model.norm.weight', [d]);
  if (!config.tiedEmbeddings) tensors.set('lm_head.weight', [v, d]);
  return tensors;
}
