/** The library's axes in kvlens's order. */

import type { ModelConfig } from '../../src/checkpoint/types.ts';
import type { StoredTensor } from '../reference/safetensors.ts';

type Numbers = Float64Array;

export interface Shaped {
  data: Numbers;
  dims: number[];
}

/** [head, pos, x] → [pos, head, x]. */
export function headsInside({ data }: StoredTensor, heads: number, width: number): Shaped {
  const count = data.length / (heads * width);
  const turned = new Float64Array(data.length);
  for (let head = 0; head < heads; head++) {
    for (let pos = 0; pos < count; pos++) {
      const from = (head * count + pos) * width;
      turned.set(data.subarray(from, from + width), (pos * heads + head) * width);
    }
  }
  return { data: turned, dims: [1, count, heads, width] };
}

/** [head, query, key] of the keys that a sliding cache kept → of all keys; what it dropped is 0 here and masked in kvlens. */
export function allKeys({ data }: StoredTensor, heads: number, queries: number, keys: number): Shaped {
  const kept = data.length / (heads * queries);
  const padded = new Float64Array(heads * queries * keys);
  for (let row = 0; row < heads * queries; row++) {
    padded.set(data.subarray(row * kept, (row + 1) * kept), (row + 1) * keys - kept);
  }
  return { data: padded, dims: [1, heads, queries, keys] };
}

/** [head, query, key] → [head, block, query, 64], the last block padded with zeros: how wide heads are multiplied. */
export function keyBlocks({ data, dims: [, heads, queries, keys] }: Shaped): Shaped {
  const blocks = Math.ceil(keys / 64);
  const blocked = new Float64Array(heads * blocks * queries * 64);
  for (let head = 0; head < heads; head++) {
    for (let query = 0; query < queries; query++) {
      for (let key = 0; key < keys; key++) {
        const at = ((head * blocks + Math.floor(key / 64)) * queries + query) * 64 + (key % 64);
        blocked[at] = data[(head * queries + query) * keys + key];
      }
    }
  }
  return { data: blocked, dims: [1, heads, blocks, queries, 64] };
}

/** A value of the library, named as rounding_log.py names it, as kvlens holds it. */
export function inOurLayout(
  name: string,
  tensor: StoredTensor,
  config: ModelConfig,
  queries: number,
  keys: number,
): Shaped {
  const { heads, kvHeads, headDim } = config;
  const last = name.split('.').at(-1)!;
  const inAttention = name.includes('self_attn.');
  if (/^q_(cos|sin|rotated)$/.test(last)) return headsInside(tensor, heads, headDim);
  if (/^k_(cos|sin|rotated)$/.test(last)) return headsInside(tensor, kvHeads, headDim);
  if (inAttention && /^(scores_raw|scores|cap_share|cap_tanh|capped|probabilities)$/.test(last)) {
    const all = allKeys(tensor, heads, queries, keys);
    return last === 'scores_raw' && headDim > 128 ? keyBlocks(all) : all;
  }
  if (inAttention && last === 'output') return { data: tensor.data, dims: [1, heads, queries, headDim] };
  if (/self_attn\.[qk]_norm$/.test(name.slice(0, -last.length - 1))) {
    return { data: tensor.data, dims: [1, queries, name.includes('q_norm') ? heads : kvHeads, headDim] };
  }
  return { data: tensor.data, dims: [1, queries, tensor.data.length / queries] };
}
