/** Patches of what attention reads: rows of the K/V cache, overwritten at the read of every layer. */
import { hookName } from '../graph/hooks.ts';
import type { Executor, History, Patch, Rows } from './executor.ts';

/**
 * Overwrite rows from … to − 1 of what every layer of a pass over rows start … n − 1 reads.
 * @param rows the `Rows` to overwrite, by absolute position
 * @param n rows that are read in all
 * @param source keys and values [row, kv_head, d_head] of rows 0 … of one layer; at least `to` of them
 */
export function readPatches(
  { blocks, config }: Executor,
  { start: from, count }: Rows,
  n: number,
  source: (layer: number) => History,
): Patch[] {
  const { kvHeads, headDim } = config;
  const rowSize = kvHeads * headDim;
  const mask = { data: new Uint8Array(n).fill(1, from, from + count), dims: [1, n, 1, 1] };
  return blocks.flatMap((layer) => {
    const { keys, values } = source(layer);
    return [['attn.cache_k', keys] as const, ['attn.cache_v', values] as const].map(([kind, data]): Patch => {
      const value = data instanceof Float64Array ? new Float64Array(n * rowSize) : new Float32Array(n * rowSize);
      const [first, end] = [from * rowSize, (from + count) * rowSize];
      value.set(data.subarray(first, end), first);
      return { hook: hookName(kind, layer), mask, value: { data: value, dims: [1, n, kvHeads, headDim] } };
    });
  });
}
