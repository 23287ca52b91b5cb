/** The tensors a checkpoint must hold, with their shapes and the keys of config.json those come from. */
import type { ModelConfig } from './types.ts';

/** One axis: its size is the product of these keys' values. */
export type AxisKeys = readonly (readonly [key: string, value: number])[];

/** Checkpoint key → axes; linear weights are [out, in]. */
export function requiredAxes(config: ModelConfig): Map<string, AxisKeys[]> {
  const headDim = ['head_dim', config.headDim] as const;
  const d: AxisKeys = [['hidden_size', config.hiddenSize]];
  const f: AxisKeys = [['intermediate_size', config.intermediateSize]];
  const v: AxisKeys = [['vocab_size', config.vocabSize]];
  const query: AxisKeys = [['num_attention_heads', config.heads], headDim];
  const keyValue: AxisKeys = [['num_key_value_heads', config.storedKvHeads], headDim];
  const tensors = new Map<string, AxisKeys[]>([['model.embed_tokens.weight', [v, d]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const add = (suffix: string, axes: AxisKeys[]) => tensors.set(`model.layers.${layer}.${suffix}`, axes);
    add('input_layernorm.weight', [d]);
    for (const [name, rows] of [
      ['q', query],
      ['k', keyValue],
      ['v', keyValue],
    ] as const) {
      add(`self_attn.${name}_proj.weight`, [rows, d]);
      if (config.attentionBias) add(`self_attn.${name}_proj.bias`, [rows]);
    }
    if (config.queryKeyNorm) {
      add('self_attn.q_norm.weight', [[headDim]]);
      add('self_attn.k_norm.weight', [[headDim]]);
    }
    add('self_attn.o_proj.weight', [d, query]);
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

/** Checkpoint key → shape. */
export function requiredTensors(config: ModelConfig): Map<string, number[]> {
  return new Map([...requiredAxes(config)].map(([name, axes]) => [name, axes.map(axisSize)]));
}

/** The size of an axis. */
export function axisSize(keys: AxisKeys): number {
  return keys.reduce((product, [, value]) => product * value, 1);
}
