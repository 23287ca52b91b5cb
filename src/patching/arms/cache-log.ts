/**
 * What an arm's cache held before each of its steps. Rows of a cache are appended, so that the history of a step is a
 * prefix of the last cache; a row that changes later – an arm that rewrites rows, a faulty cache – is kept as it was.
 */
import { bitEqual } from '../../divergence/counterfactual.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';

/** A row as it was before a step changed it. */
interface OldRow {
  /** Tokens of the sequence at the step that changed it. */
  n: number;
  layer: number;
  row: number;
  keys: FloatArray;
  values: FloatArray;
}

/** Watches one cache. Call `observe` after each step, with the number of its tokens. */
export class CacheLog {
  private readonly executor: Executor;
  private readonly cache: KVCache;
  /** The rows as they were last seen. */
  private readonly seen: KVCache;
  private readonly changes: OldRow[] = [];
  private length = 0;

  constructor(executor: Executor, cache: KVCache) {
    this.executor = executor;
    this.cache = cache;
    this.seen = executor.newCache(cache.capacity);
  }

  /** A step of n tokens has run: rows 0 … n − 1 are there. */
  observe(n: number): void {
    const { rowSize } = this.cache;
    const known = this.length;
    for (const layer of this.executor.blocks) {
      const now = this.cache.view(layer, n);
      const before = this.seen.view(layer, known);
      const rows = (data: FloatArray, from: number, to: number) => data.subarray(from * rowSize, to * rowSize);
      const same = (from: number, to: number) =>
        bitEqual(rows(before.keys, from, to), rows(now.keys, from, to)) &&
        bitEqual(rows(before.values, from, to), rows(now.values, from, to));
      for (let row = 0; row < known && !same(row, known); row++) {
        if (same(row, row + 1)) continue;
        const old = {
          keys: rows(before.keys, row, row + 1).slice(),
          values: rows(before.values, row, row + 1).slice(),
        };
        this.changes.push({ n, layer, row, ...old });
        this.seen.write(layer, row, rows(now.keys, row, row + 1), rows(now.values, row, row + 1));
      }
      if (n > known) this.seen.write(layer, known, rows(now.keys, known, n), rows(now.values, known, n));
    }
    this.length = n;
  }

  /** Rows that changed after they were first written: 0 where rows are only appended. */
  get changedRows(): number {
    return new Set(this.changes.map(({ layer, row }) => `${layer} ${row}`)).size;
  }

  /** Rows 0 … n − 2, as they were before the step of n tokens; not to be written to. */
  before(n: number): KVCache {
    if (n < 1 || n - 1 > this.length) throw new RangeError(`history of ${n} tokens: ${this.length} rows were run`);
    const later = this.changes.filter((change) => change.n >= n && change.row < n - 1);
    if (later.length === 0) return this.seen;
    const history = this.executor.newCache(this.cache.capacity);
    history.copyFrom(this.seen, this.length);
    // The oldest change last: it holds the row as it was first.
    for (const { layer, row, keys, values } of later.toReversed()) history.write(layer, row, keys, values);
    return history;
  }
}
