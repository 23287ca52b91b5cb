/**
 * A LLaMA-shaped checkpoint of seeded random weights with 24 million parameters, for measuring time and memory:
 * `npx tsx bench/make-model.mts DIR`. It has no tokenizer and says nothing sensible.
 */
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 384,
  intermediate_size: 1024,
  num_hidden_layers: 12,
  num_attention_heads: 6,
  num_key_value_heads: 6,
  head_dim: 64,
  vocab_size: 4096,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 1,
  eos_token_id: 2,
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
};

/** Write the checkpoint into `dir`; returns its number of parameters. */
export function writeBenchModel(dir: string, seed = 1): number {
  const { hidden_size: hidden, intermediate_size: mlp, vocab_size: vocabulary, num_hidden_layers: layers } = config;
  const shapes: [string, number[]][] = [['model.embed_tokens.weight', [vocabulary, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push(
      [`${prefix}.input_layernorm.weight`, [hidden]],
      [`${prefix}.self_attn.q_proj.weight`, [hidden, hidden]],
      [`${prefix}.self_attn.k_proj.weight`, [hidden, hidden]],
      [`${prefix}.self_attn.v_proj.weight`, [hidden, hidden]],
      [`${prefix}.self_attn.o_proj.weight`, [hidden, hidden]],
      [`${prefix}.post_attention_layernorm.weight`, [hidden]],
      [`${prefix}.mlp.gate_proj.weight`, [mlp, hidden]],
      [`${prefix}.mlp.up_proj.weight`, [mlp, hidden]],
      [`${prefix}.mlp.down_proj.weight`, [hidden, mlp]],
    );
  }
  shapes.push(['model.norm.weight', [hidden]], ['lm_head.weight', [vocabulary, hidden]]);
  const random = normal(seed);
  const header: Record<string, object> = {};
  const tensors: Uint8Array[] = [];
  let offset = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((total, length) => total * length, 1);
    // Norms near 1; matrices so that a row of unit variance stays one; the embedding of unit variance.
    const scale = name.includes('embed') ? 1 : 1 / Math.sqrt(shape[shape.length - 1]);
    const values = Float32Array.from({ length: size }, () =>
      shape.length === 1 ? 1 + 0.1 * random() : scale * random(),
    );
    // bfloat16 is the upper half of a float32; truncation is good enough for random numbers.
    const bits = new Uint32Array(values.buffer);
    const bytes = new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, offset + bytes.length] };
    tensors.push(bytes);
    offset += bytes.length;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'model.safetensors'), Buffer.concat([length, Buffer.from(text), ...tensors]));
  writeFileSync(join(dir, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  return offset / 2;
}

/** The bench model, made once in the folder for temporary files. */
export function benchModel(): string {
  const dir = join(tmpdir(), 'kvlens-bench-model');
  if (!existsSync(join(dir, 'config.json'))) writeBenchModel(dir);
  return dir;
}

/** Standard normal numbers: Marsaglia's polar method on a 32-bit linear congruential generator. */
function normal(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return () => {
    for (;;) {
      const x = uniform();
      const square = x ** 2 + uniform() ** 2;
      if (square > 0 && square < 1) return x * Math.sqrt((-2 * Math.log(square)) / square);
    }
  };
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [dir] = process.argv.slice(2);
  if (dir === undefined) throw new Error('expected a folder');
  console.log(`${dir}: ${writeBenchModel(dir).toLocaleString('en')} parameters`);
}
