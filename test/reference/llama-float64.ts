/**
 * The reference: LLaMA's forward pass in float64, plain loops over plain arrays, written from the formulas of
 * `modeling_llama.py` and TransformerLens's hook definitions. Shares nothing with `src/`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors, type StoredTensor } from './safetensors.ts';

/** A tensor, row-major. */
export interface ReferenceTensor {
  data: Float64Array;
  dims: number[];
}

interface Config {
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim?: number;
  rms_norm_eps: number;
  rope_theta?: number;
  rope_parameters?: { rope_theta: number };
  tie_word_embeddings: boolean;
}

/** Every activation of a causal pass over `tokens`, by TransformerLens hook name; batch axis 1. */
export function referenceForward(dir: string, tokens: readonly number[]): Map<string, ReferenceTensor> {
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as Config;
  return new ReferenceLlama(config, readSafetensors(join(dir, 'model.safetensors'))).forward(tokens);
}

/** Rows of numbers: [pos][feature]. */
type Rows = Float64Array[];

class ReferenceLlama {
  private readonly config: Config;
  private readonly weights: Map<string, StoredTensor>;
  private readonly headDim: number;
  private readonly hooks = new Map<string, ReferenceTensor>();

  constructor(config: Config, weights: Map<string, StoredTensor>) {
    this.config = config;
    this.weights = weights;
    this.headDim = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  }

  forward(tokens: readonly number[]): Map<string, ReferenceTensor> {
    const { num_hidden_layers, hidden_size, tie_word_embeddings } = this.config;
    const embedding = this.weight('model.embed_tokens').data;
    let x: Rows = tokens.map((token) => embedding.slice(token * hidden_size, (token + 1) * hidden_size));
    this.saveRows('hook_embed', x);
    for (let layer = 0; layer < num_hidden_layers; layer++) x = this.block(layer, x);
    const normalized = this.norm(x, 'model.norm', 'ln_final');
    const logits = this.linear(normalized, tie_word_embeddings ? 'model.embed_tokens' : 'lm_head');
    this.saveRows('unembed.hook_out', logits);
    this.saveRows('logits', logits);
    return this.hooks;
  }

  private block(layer: number, x: Rows): Rows {
    const weights = `model.layers.${layer}`;
    const hook = `blocks.${layer}`;
    this.saveRows(`${hook}.hook_resid_pre`, x);
    const attentionOut = this.attention(layer, this.norm(x, `${weights}.input_layernorm`, `${hook}.ln1`));
    this.saveRows(`${hook}.hook_attn_out`, attentionOut);
    const middle = add(x, attentionOut);
    this.saveRows(`${hook}.hook_resid_mid`, middle);
    const mlpOut = this.mlp(layer, this.norm(middle, `${weights}.post_attention_layernorm`, `${hook}.ln2`));
    this.saveRows(`${hook}.hook_mlp_out`, mlpOut);
    const post = add(middle, mlpOut);
    this.saveRows(`${hook}.hook_resid_post`, post);
    return post;
  }

  private attention(layer: number, x: Rows): Rows {
    const { num_attention_heads: heads, num_key_value_heads: kvHeads, hidden_size: width } = this.config;
    const { headDim } = this;
    const weights = `model.layers.${layer}.self_attn`;
    const hook = `blocks.${layer}.attn`;
    const count = x.length;
    const q = this.linear(x, `${weights}.q_proj`);
    const k = this.linear(x, `${weights}.k_proj`);
    const v = this.linear(x, `${weights}.v_proj`);
    const rotatedQ = this.rotate(q);
    const rotatedK = this.rotate(k);
    this.saveRows(`${hook}.hook_q`, q, [heads, headDim]);
    this.saveRows(`${hook}.hook_k`, k, [kvHeads, headDim]);
    this.saveRows(`${hook}.hook_v`, v, [kvHeads, headDim]);
    this.saveRows(`${hook}.hook_rot_q`, rotatedQ, [heads, headDim]);
    this.saveRows(`${hook}.hook_rot_k`, rotatedK, [kvHeads, headDim]);
    this.saveRows(`${hook}.hook_cache_k`, rotatedK, [kvHeads, headDim]);
    this.saveRows(`${hook}.hook_cache_v`, v, [kvHeads, headDim]);

    const scores = new Float64Array(heads * count * count).fill(-Infinity); // [head, query, key]
    const pattern = new Float64Array(heads * count * count);
    const z: Rows = x.map(() => new Float64Array(heads * headDim));
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor((head * kvHeads) / heads);
      for (let query = 0; query < count; query++) {
        const row = (head * count + query) * count;
        for (let key = 0; key <= query; key++) {
          let dot = 0;
          for (let i = 0; i < headDim; i++)
            dot += rotatedQ[query][head * headDim + i] * rotatedK[key][kvHead * headDim + i];
          scores[row + key] = dot / Math.sqrt(headDim);
        }
        pattern.set(softmax(scores.subarray(row, row + query + 1)), row);
        for (let key = 0; key <= query; key++)
          for (let i = 0; i < headDim; i++)
            z[query][head * headDim + i] += pattern[row + key] * v[key][kvHead * headDim + i];
      }
    }
    this.save(`${hook}.hook_attn_scores`, scores, [1, heads, count, count]);
    this.save(`${hook}.hook_pattern`, pattern, [1, heads, count, count]);
    this.saveRows(`${hook}.hook_z`, z, [heads, headDim]);

    // What each head adds to attn_out: o_proj of z with the other heads set to zero.
    const result: Rows = x.map(() => new Float64Array(heads * width));
    for (let head = 0; head < heads; head++) {
      const alone = z.map((row) => row.map((value, i) => (Math.floor(i / headDim) === head ? value : 0)));
      for (const [pos, row] of this.linear(alone, `${weights}.o_proj`).entries()) result[pos].set(row, head * width);
    }
    this.saveRows(`${hook}.hook_result`, result, [heads, width]);
    return this.linear(z, `${weights}.o_proj`);
  }

  private mlp(layer: number, x: Rows): Rows {
    const weights = `model.layers.${layer}.mlp`;
    const hook = `blocks.${layer}.mlp`;
    const gate = this.linear(x, `${weights}.gate_proj`);
    const up = this.linear(x, `${weights}.up_proj`);
    const post = gate.map((row, pos) => row.map((value, i) => (value / (1 + Math.exp(-value))) * up[pos][i]));
    this.saveRows(`${hook}.hook_pre`, gate);
    this.saveRows(`${hook}.hook_pre_linear`, up);
    this.saveRows(`${hook}.hook_post`, post);
    return this.linear(post, `${weights}.down_proj`);
  }

  /** x / sqrt(mean x² + ε) · w; hook_scale is the root, hook_normalized the quotient. */
  private norm(x: Rows, key: string, hook: string): Rows {
    const { data: weight } = this.weight(key);
    const scales = x.map((row) => {
      let sum = 0;
      for (const value of row) sum += value * value;
      return Math.sqrt(sum / row.length + this.config.rms_norm_eps);
    });
    const normalized = x.map((row, pos) => row.map((value) => value / scales[pos]));
    this.save(`${hook}.hook_scale`, Float64Array.from(scales), [1, x.length, 1]);
    this.saveRows(`${hook}.hook_normalized`, normalized);
    return normalized.map((row) => row.map((value, i) => value * weight[i]));
  }

  /** Rotate each pair (i, i + d/2) of every head by position · θ^(−2i/d). */
  private rotate(x: Rows): Rows {
    const { headDim } = this;
    const theta = this.config.rope_parameters?.rope_theta ?? this.config.rope_theta ?? 10000;
    return x.map((row, position) => {
      const out = new Float64Array(row.length);
      for (let head = 0; head < row.length; head += headDim) {
        for (let i = 0; i < headDim / 2; i++) {
          const angle = position * theta ** ((-2 * i) / headDim);
          const [a, b] = [row[head + i], row[head + i + headDim / 2]];
          out[head + i] = a * Math.cos(angle) - b * Math.sin(angle);
          out[head + i + headDim / 2] = b * Math.cos(angle) + a * Math.sin(angle);
        }
      }
      return out;
    });
  }

  /** x Wᵀ with W stored [out, in]. */
  private linear(x: Rows, key: string): Rows {
    const { shape, data } = this.weight(key);
    const [outputs, inputs] = shape;
    return x.map((row) => {
      const out = new Float64Array(outputs);
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let i = 0; i < inputs; i++) sum += data[o * inputs + i] * row[i];
        out[o] = sum;
      }
      return out;
    });
  }

  private weight(key: string): StoredTensor {
    const weight = this.weights.get(`${key}.weight`);
    if (!weight) throw new Error(`reference: no tensor ${key}.weight`);
    return weight;
  }

  /** Keep rows as [1, pos, …rest]; by default the rest is one axis. */
  private saveRows(name: string, rows: Rows, rest: number[] = [rows[0].length]): void {
    const data = new Float64Array(rows.length * rows[0].length);
    for (const [pos, row] of rows.entries()) data.set(row, pos * row.length);
    this.save(name, data, [1, rows.length, ...rest]);
  }

  private save(name: string, data: Float64Array, dims: number[]): void {
    this.hooks.set(name, { data, dims });
  }
}

function add(x: Rows, y: Rows): Rows {
  return x.map((row, pos) => row.map((value, i) => value + y[pos][i]));
}

function softmax(scores: Float64Array): Float64Array {
  const top = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - top));
  let sum = 0;
  for (const value of exponentials) sum += value;
  return exponentials.map((value) => value / sum);
}
