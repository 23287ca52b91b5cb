/** Histories put together from the caches of several arms: which rows, heads and layers of K and V come from where. */
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';

/** K rows, V rows, or both. */
export type Component = 'k' | 'v' | 'both';

/** A part of a history; every list ascending and without repeats. */
export interface HistorySelection {
  layers: readonly number[];
  /** K/V heads. */
  heads: readonly number[];
  /** Absolute positions. */
  positions: readonly number[];
  component: Component;
}

/** The whole history of a step of n tokens, in these layers (default: all). */
export function wholeHistory({ config }: Executor, n: number, layers?: readonly number[]): HistorySelection {
  const upTo = (end: number) => Array.from({ length: Math.max(0, end) }, (_, i) => i);
  return {
    layers: layers ?? upTo(config.layers),
    heads: upTo(config.kvHeads),
    positions: upTo(n - 1),
    component: 'both',
  };
}

/** A cache of `capacity` rows with rows 0 … n − 2 of `base`. */
export function copyHistory(executor: Executor, base: KVCache, n: number, capacity: number): KVCache {
  const copy = executor.newCache(Math.max(capacity, n));
  copy.copyFrom(base, n - 1);
  return copy;
}

/** Where values of a history come from: a cache, or a number for every element. */
export type HistorySource = KVCache | number;

/**
 * Overwrite the selected rows of `target` with those of `source`.
 * @returns elements whose bits this changed (+0 and −0 are equal)
 */
export function overwriteHistory(
  { config }: Executor,
  target: KVCache,
  source: HistorySource,
  selection: HistorySelection,
): number {
  const { headDim } = config;
  let changed = 0;
  eachHead(selection, (layer, part, position, head) => {
    const at = position * target.rowSize + head * headDim;
    const to = part(target, layer, position).subarray(at, at + headDim);
    if (typeof source === 'number') {
      changed += differing(to, source);
      to.fill(source);
      return;
    }
    const from = part(source, layer, position).subarray(at, at + headDim);
    changed += differing(to, from);
    to.set(from);
  });
  return changed;
}

/** Elements of the selection that differ between two caches. */
export function differingElements({ config }: Executor, a: KVCache, b: KVCache, selection: HistorySelection): number {
  const { headDim } = config;
  let count = 0;
  eachHead(selection, (layer, part, position, head) => {
    const at = position * a.rowSize + head * headDim;
    count += differing(
      part(a, layer, position).subarray(at, at + headDim),
      part(b, layer, position).subarray(at, at + headDim),
    );
  });
  return count;
}

/** The history of a step of n tokens: `base` with the selected rows of `donor`. */
export function composeHistory(
  executor: Executor,
  {
    base,
    donor,
    selection,
    n,
    capacity,
  }: {
    base: KVCache;
    donor: HistorySource;
    selection: HistorySelection;
    n: number;
    capacity: number;
  },
): { history: KVCache; changed: number } {
  const outside = selection.positions.find((position) => position < 0 || position > n - 2);
  if (outside !== undefined) throw new RangeError(`history of ${n} tokens: row ${outside} was selected`);
  const history = copyHistory(executor, base, n, capacity);
  return { history, changed: overwriteHistory(executor, history, donor, selection) };
}

type Part = (cache: KVCache, layer: number, position: number) => FloatArray;

/** Call `visit` for each selected head of each row; `part` gives K or V up to and with a row. */
function eachHead(
  { layers, heads, positions, component }: HistorySelection,
  visit: (layer: number, part: Part, position: number, head: number) => void,
): void {
  const keys: Part = (cache, layer, position) => cache.view(layer, position + 1).keys;
  const values: Part = (cache, layer, position) => cache.view(layer, position + 1).values;
  const parts = { k: [keys], v: [values], both: [keys, values] }[component];
  for (const layer of layers) {
    for (const part of parts) {
      for (const position of positions) for (const head of heads) visit(layer, part, position, head);
    }
  }
}

function differing(a: FloatArray, b: FloatArray | number): number {
  let count = 0;
  for (let i = 0; i < a.length; i++) {
    const other = typeof b === 'number' ? b : b[i];
    if (a[i] !== other && !(Number.isNaN(a[i]) && Number.isNaN(other))) count += 1;
  }
  return count;
}
