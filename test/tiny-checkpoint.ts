/** Small checkpoints, LLaMA-shaped unless said otherwise, of seeded random weights in a temporary folder: what tests need instead of real models. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModelType } from '../src/checkpoint/types.ts';
import { bfloat16Bits, float16Bits } from '../src/numerics/half.ts';

export interface TinyOptions {
  /** Family; what it has beyond LLaMA's tensors and keys is added. */
  modelType?: ModelType;
  /** Multi-head (as many K/V heads as heads), grouped-query (two heads share one) or multi-query attention (all do). */
  attention?: 'mha' | 'gqa' | 'mqa';
  dtype?: 'F32' | 'F16' | 'BF16';
  layers?: number;
  headDim?: number;
  vocabSize?: number;
  maxPositions?: number;
  tiedEmbeddings?: boolean;
  seed?: number;
  /** Change a tensor's values before they are stored; called with its checkpoint key. */
  edit?: (key: string, values: Float64Array) => void;
}

/** Write a checkpoint; returns its folder. */
export function writeTinyCheckpoint(options: TinyOptions = {}): string {
  const dir = mkdtempSync(join(tmpdir(), 'kvlens-tiny-'));
  const { config, shapes } = tinyModel(options);
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config, null, 1));
  writeFileSync(join(dir, 'model.safetensors'), safetensors(shapes, options));
  return dir;
}

/** Remove what `writeTinyCheckpoint` wrote. */
export function removeCheckpoint(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}

function tinyModel(options: TinyOptions) {
  const {
    modelType = 'llama',
    attention = 'mha',
    layers = 2,
    headDim = 16,
    vocabSize = 96,
    maxPositions = 64,
    tiedEmbeddings = false,
  } = options;
  const heads = 4;
  const kvHeads = { mha: heads, gqa: heads / 2, mqa: 1 }[attention];
  const hidden = heads * headDim;
  const mlp = 2 * hidden + 8;
  const shapes: [string, number[]][] = [['model.embed_tokens.weight', [vocabSize, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push(
      [`${prefix}.input_layernorm.weight`, [hidden]],
      [`${prefix}.self_attn.q_proj.weight`, [heads * headDim, hidden]],
      [`${prefix}.self_attn.k_proj.weight`, [kvHeads * headDim, hidden]],
      [`${prefix}.self_attn.v_proj.weight`, [kvHeads * headDim, hidden]],
      [`${prefix}.self_attn.o_proj.weight`, [hidden, heads * headDim]],
      [`${prefix}.post_attention_layernorm.weight`, [hidden]],
      [`${prefix}.mlp.gate_proj.weight`, [mlp, hidden]],
      [`${prefix}.mlp.up_proj.weight`, [mlp, hidden]],
      [`${prefix}.mlp.down_proj.weight`, [hidden, mlp]],
      ...familyShapes(modelType, { hidden, query: heads * headDim, keyValue: kvHeads * headDim, headDim }).map(
        ([name, shape]): [string, number[]] => [`${prefix}.${name}`, shape],
      ),
    );
  }
  shapes.push(['model.norm.weight', [hidden]]);
  if (!tiedEmbeddings) shapes.push(['lm_head.weight', [vocabSize, hidden]]);
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: modelType,
    hidden_size: hidden,
    intermediate_size: mlp,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    vocab_size: vocabSize,
    max_position_embeddings: maxPositions,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
    tie_word_embeddings: tiedEmbeddings,
    ...familyKeys[modelType],
    torch_dtype: { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[options.dtype ?? 'F32'],
  };
  return { config, shapes };
}

/** Keys of config.json that only this family has. */
const familyKeys: Record<ModelType, object> = {
  llama: {},
  mistral: { sliding_window: 8 },
  gemma2: { hidden_activation: 'gelu_pytorch_tanh', sliding_window: 8, query_pre_attn_scalar: 16 },
  qwen2: { use_sliding_window: false },
  qwen3: { use_sliding_window: false },
};

/** Tensors of a layer that only this family has. */
function familyShapes(
  modelType: ModelType,
  { hidden, query, keyValue, headDim }: Record<'hidden' | 'query' | 'keyValue' | 'headDim', number>,
): [string, number[]][] {
  if (modelType === 'gemma2') {
    return [
      ['pre_feedforward_layernorm.weight', [hidden]],
      ['post_feedforward_layernorm.weight', [hidden]],
    ];
  }
  if (modelType === 'qwen2') {
    return [
      ['self_attn.q_proj.bias', [query]],
      ['self_attn.k_proj.bias', [keyValue]],
      ['self_attn.v_proj.bias', [keyValue]],
    ];
  }
  if (modelType !== 'qwen3') return [];
  return [
    ['self_attn.q_norm.weight', [headDim]],
    ['self_attn.k_norm.weight', [headDim]],
  ];
}

function safetensors(
  shapes: readonly [string, number[]][],
  { dtype = 'F32', seed = 1, edit }: TinyOptions,
): Uint8Array {
  const random = normal(seed);
  const header: Record<string, object> = {};
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [key, shape] of shapes) {
    const size = shape.reduce((total, length) => total * length, 1);
    const values = Float64Array.from({ length: size }, () =>
      shape.length === 1 ? 1 + 0.1 * random() : random() / Math.sqrt(shape[1]),
    );
    if (key.includes('embed')) for (let i = 0; i < size; i++) values[i] *= Math.sqrt(shape[1]);
    edit?.(key, values);
    const bytes = encode(values, dtype);
    header[key] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    chunks.push(bytes);
    offset += bytes.length;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, Buffer.from(text), ...chunks]);
}

function encode(values: Float64Array, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(Float32Array.from(values).buffer);
  return new Uint8Array(Uint16Array.from(values, dtype === 'F16' ? float16Bits : bfloat16Bits).buffer);
}

/** Standard normal numbers from a 32-bit linear congruential generator, sums of 12 uniforms. */
function normal(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum;
  };
}
