/** A configuration that contradicts its tensors, or itself, is told by the keys that led to what was expected. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { type ModelType, modelTypes } from '../../src/checkpoint/types.ts';
import { InputError } from '../../src/errors.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { type Break, both, config, extra, readSafetensors, weights, writeSafetensors } from './breaking.ts';

const attention = 'model.layers.0.self_attn';
const hint = /quantised weights are not supported: use the checkpoint in F32, F16 or BF16/;

/** Rename a tensor, keeping its place. */
const renamed = (from: string, to: string): Break => {
  return (dir) => {
    const { text, data } = readSafetensors(join(dir, weights));
    writeSafetensors(join(dir, weights), text.replace(`"${from}"`, `"${to}"`), data);
  };
};

/** The bytes of a tensor as packed 8-bit values. */
const packed = (name: string, dtype: string): Break => {
  return (dir) => {
    const { text, data } = readSafetensors(join(dir, weights));
    const entries = JSON.parse(text);
    const [begin, end] = entries[name].data_offsets;
    entries[name] = { ...entries[name], dtype, shape: [end - begin, 1] };
    writeSafetensors(join(dir, weights), entries, data);
  };
};

async function refusal(modelType: ModelType, broken: Break): Promise<InputError> {
  // 4 heads of 16, 2 K/V heads, d_model 64, d_mlp 136, 96 tokens, 2 layers
  const dir = writeTinyCheckpoint({ modelType, attention: 'gqa', tiedEmbeddings: modelType === 'gemma2' });
  try {
    await openCheckpoint(dir);
    broken(dir);
    const error: unknown = await openCheckpoint(dir).catch((reason: unknown) => reason);
    if (!(error instanceof InputError)) throw new Error(`${String(error)}: expected an InputError`);
    expect(error.message).not.toContain('\n');
    expect(error.message.startsWith(dir)).toBe(true);
    return error;
  } finally {
    removeCheckpoint(dir);
  }
}

describe.each(modelTypes)('%s', (modelType) => {
  test.each<[string, Break, RegExp]>([
    [
      'heads against q_proj',
      config({ num_attention_heads: 8 }),
      /q_proj\.weight has shape \[64, 64\], config\.json expects \[128, 64\]: num_attention_heads 8 × head_dim 16 = 128$/,
    ],
    [
      'K/V heads against k_proj',
      config({ num_key_value_heads: 4 }),
      /k_proj\.weight has shape \[32, 64\], .* \[64, 64\]: num_key_value_heads 4 × head_dim 16 = 64$/,
    ],
    [
      'K/V heads that are as many as heads by default',
      config({ num_key_value_heads: null }),
      /: num_key_value_heads 4 \(the default\) × head_dim 16 = 64$/,
    ],
    ['the size of a head', config({ head_dim: 32 }), /\[128, 64\]: num_attention_heads 4 × head_dim 32 = 128$/],
    ['the width', config({ hidden_size: 32 }), /embed_tokens\.weight has shape .* \[96, 32\]: hidden_size 32$/],
    ['the vocabulary', config({ vocab_size: 100 }), /embed_tokens\.weight .* \[100, 64\]: vocab_size 100$/],
    ['the MLP', config({ intermediate_size: 100 }), /gate_proj\.weight .* \[100, 64\]: intermediate_size 100$/],
    ['layers', config({ num_hidden_layers: 3 }), /layers\.2\..* is missing, .* \(num_hidden_layers is 3\)$/],
    ['a window of 0', config({ sliding_window: 0 }), /sliding_window is 0, expected at least 1, or null$/],
    ['a negative soft-cap', config({ attn_logit_softcapping: -1 }), /is -1, expected more than 0, or null$/],
    [
      'layer_types of another length',
      config({ layer_types: ['full_attention'] }),
      /expected 2 entries, one for each of num_hidden_layers, not 1$/,
    ],
    [
      'layer_types with another word',
      config({ layer_types: ['full_attention', 'chunked_attention'] }),
      /expected a list of "full_attention" and "sliding_attention"$/,
    ],
    [
      'a rope for each type of layer',
      config({ rope_theta: undefined, rope_parameters: { full_attention: { rope_type: 'default' } } }),
      /rope_parameters\.full_attention is .*, expected rope_type and rope_theta here, for all layers$/,
    ],
    [
      'heads that are turned in part',
      config({ rope_theta: undefined, rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } }),
      /rope_parameters\.partial_rotary_factor is 0\.5, expected 1 or absent$/,
    ],
    ...['yarn', 'dynamic', 'longrope', 'linear'].map((type): [string, Break, RegExp] => [
      `${type} rope`,
      config({ rope_scaling: { type, factor: 4 } }),
      new RegExp(`rope_scaling\\.type is "${type}", expected "default" or "llama3"$`),
    ]),
    [
      'a stretched rope without its factor',
      config({ rope_scaling: { rope_type: 'llama3', low_freq_factor: 1, high_freq_factor: 4 } }),
      /rope_scaling\.factor is missing, expected a positive number$/,
    ],
    ...['gpt2', 'phi3', 'gemma3_text', 'mixtral'].map((type): [string, Break, RegExp] => [
      `${type}, whatever the weights`,
      config({ model_type: type }),
      new RegExp(`model_type is "${type}", expected one of ${modelTypes.join(', ')}$`),
    ]),
  ])('%s', async (_, broken, says) => {
    expect((await refusal(modelType, broken)).message).toMatch(says);
  });

  test.each<[string, Break, RegExp]>([
    [
      'bitsandbytes',
      config({ quantization_config: { load_in_4bit: true } }),
      /quantization_config is \{"load_in_4bit":true/,
    ],
    ['packed bytes', packed(`${attention}.q_proj.weight`, 'U8'), /q_proj\.weight is U8, expected F32, F16 or BF16$/],
    ['8-bit floats', packed(`${attention}.v_proj.weight`, 'F8_E4M3'), /v_proj\.weight is F8_E4M3, expected F32/],
    [
      'GPTQ',
      both(renamed(`${attention}.q_proj.weight`, `${attention}.q_proj.qweight`), extra(`${attention}.q_proj.scales`)),
      /q_proj\.weight is missing, .*; found model\.layers\.0\.self_attn\.q_proj\.qweight, not part of a/,
    ],
  ])('quantised, %s', async (_, broken, says) => {
    const error = await refusal(modelType, broken);
    expect(error.message).toMatch(says);
    expect(error.hint).toMatch(hint);
  });
});

test.each<[string, ModelType, Break, RegExp]>([
  [
    'a default head size that is not the tensors’',
    'gemma2',
    config({ head_dim: undefined }),
    /: num_attention_heads 4 × head_dim 256 \(the default\) = 1024$/,
  ],
  [
    'a default number of K/V heads that does not divide the heads',
    'mistral',
    config({ num_key_value_heads: undefined }),
    /num_key_value_heads is missing, expected a divisor .* \(4\), but mistral models without the key have 8$/,
  ],
  [
    'an output matrix that is not tied and not there',
    'gemma2',
    config({ tie_word_embeddings: false }),
    /lm_head\.weight is missing, expected shape \[96, 64\] \(tie_word_embeddings is false\)$/,
  ],
  [
    'nor by default',
    'mistral',
    both(config({ tie_word_embeddings: undefined }), renamed('lm_head.weight', 'head')),
    /\(tie_word_embeddings is absent, the default is false\); found head, not part of a mistral model$/,
  ],
  ['a bias', 'qwen2', renamed(`${attention}.k_proj.bias`, 'other'), /k_proj\.bias is missing, expected shape \[32\]/],
  ['a head norm', 'qwen3', renamed(`${attention}.q_norm.weight`, 'other'), /q_norm\.weight is missing/],
  [
    'fused projections',
    'llama',
    renamed(`${attention}.q_proj.weight`, `${attention}.qkv_proj.weight`),
    /q_proj\.weight is missing, .*; found .*\.qkv_proj\.weight, not part of a llama model$/,
  ],
  [
    'a Mistral layer that would not slide',
    'mistral',
    config({ layer_types: ['sliding_attention', 'full_attention'] }),
    /layer_types\.1 is "full_attention", expected "sliding_attention", as every layer of a mistral model slides \(sliding_window 8\)$/,
  ],
  [
    'a Qwen layer that slides although none does',
    'qwen2',
    config({ layer_types: ['full_attention', 'sliding_attention'] }),
    /layer_types\.1 is "sliding_attention", expected "full_attention", as use_sliding_window is false$/,
  ],
  [
    'a Gemma layer that slides without a window',
    'gemma2',
    config({ sliding_window: null, layer_types: ['sliding_attention', 'full_attention'] }),
    /layer_types\.0 is "sliding_attention", expected "full_attention", as sliding_window is null$/,
  ],
  [
    'another activation in the key that counts',
    'gemma2',
    config({ hidden_activation: 'gelu' }),
    /hidden_activation is "gelu", expected "gelu_pytorch_tanh"$/,
  ],
])('%s', async (_, modelType, broken, says) => {
  expect((await refusal(modelType, broken)).message).toMatch(says);
});
