/**
 * Memory of runs that go side by side, used again from pass to pass: arrays that are made anew for every pass cost more than
 * the copies in them.
 */
import { allocate, type FloatArray } from '../../model/arrays.ts';
import type { History } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';

/** What it returns holds until the next call for the same purpose. */
export class RunMemory {
  private readonly compute: 'f32' | 'f64';
  private readonly cache: KVCache;
  private readonly start: number;
  private readonly arrays = new Map<string, FloatArray>();
  /** Of which layer the arrays for histories hold the base's rows, and how many times. */
  private copied = { layer: -1, count: 0 };

  /** @param cache K/V rows of the base run, of which runs read rows 0 … start − 1 */
  constructor(compute: 'f32' | 'f64', cache: KVCache, start: number) {
    this.compute = compute;
    this.cache = cache;
    this.start = start;
  }

  /** Arrays of one length, one after another. @param purpose arrays for unlike purposes hold side by side */
  stack(parts: readonly FloatArray[], purpose = 'stack'): FloatArray {
    if (parts.length === 1) return parts[0];
    const { length } = parts[0];
    const result = this.take(purpose, parts.length * length);
    parts.forEach((part, i) => {
      result.set(part, i * length);
    });
    return result;
  }

  /** K/V rows before `start` from the base run, then `fresh` rows of each run: [batch, rows, kv_head, d_head]. */
  history(layer: number, batch: number, fresh?: History, freshRows = 0): History {
    const view = this.cache.view(layer, this.start);
    if (batch === 1 && !fresh) return view;
    const before = this.start * this.cache.rowSize;
    const own = freshRows * this.cache.rowSize;
    const { copied } = this;
    const known = !fresh && copied.layer === layer ? copied.count : 0;
    const joined = (purpose: string, old: FloatArray, rows: FloatArray | undefined) => {
      const result = this.take(purpose, batch * (before + own), known > 0);
      for (let i = known; i < batch; i++) {
        result.set(old, i * (before + own));
        if (rows) result.set(rows.subarray(i * own, (i + 1) * own), i * (before + own) + before);
      }
      return result;
    };
    const history = {
      keys: joined('keys', view.keys, fresh?.keys),
      values: joined('values', view.values, fresh?.values),
    };
    this.copied = { layer: fresh ? -1 : layer, count: Math.max(known, batch) };
    return history;
  }

  /** An array of this length, grown when needed. @param keep what is in it */
  private take(purpose: string, length: number, keep = false): FloatArray {
    const known = this.arrays.get(purpose);
    if (known && known.length >= length) return known.subarray(0, length);
    const array = allocate(this.compute, length);
    if (known && keep) array.set(known);
    this.arrays.set(purpose, array);
    return array;
  }
}
