/** The K/V cache: memory allocated once per layer, new rows appended, attention fed views of it. */
import { allocate, type FloatArray } from './arrays.ts';

export interface CacheShape {
  layers: number;
  kvHeads: number;
  headDim: number;
  compute: 'f32' | 'f64';
}

/**
 * Rows [pos, kv_head, d_head] of keys (after rotary) and values, for every layer. Rows are named by position; left padding
 * lies before position 0, at positions −padding … −1.
 */
export class KVCache {
  readonly capacity: number;
  readonly padding: number;
  /** Numbers per row: kv_head · d_head. */
  readonly rowSize: number;
  private readonly shape: CacheShape;
  /** By layer, allocated when the layer is first used: a plan that runs one layer needs one layer's memory. */
  private readonly stores: { keys: FloatArray; values: FloatArray }[] = [];

  constructor(shape: CacheShape, capacity: number, padding = 0) {
    this.capacity = capacity;
    this.padding = padding;
    this.rowSize = shape.kvHeads * shape.headDim;
    this.shape = shape;
  }

  /** Write rows start, start + 1, … of one layer; rows that exist are overwritten. */
  write(layer: number, start: number, keys: FloatArray, values: FloatArray): void {
    const store = this.store(layer);
    const from = (this.padding + start) * this.rowSize;
    if (from + keys.length > store.keys.length) {
      throw new RangeError(
        `K/V cache holds ${this.capacity} rows, row ${start + keys.length / this.rowSize} was written`,
      );
    }
    store.keys.set(keys, from);
    store.values.set(values, from);
  }

  /** Rows [0, length) of one layer, as views: they change when those rows are overwritten. */
  view(layer: number, length: number): { keys: FloatArray; values: FloatArray } {
    return this.rows(layer, 0, length);
  }

  /** What attention reads before row `start`: the padding and rows [0, start) of one layer, as views. */
  history(layer: number, start: number): { keys: FloatArray; values: FloatArray } {
    return this.rows(layer, -this.padding, start);
  }

  /** Copy the padding and rows [0, length) of every layer that another cache of the same shape and padding holds. */
  copyFrom(other: KVCache, length: number): void {
    other.stores.forEach((_, layer) => {
      const { keys, values } = other.history(layer, length);
      this.write(layer, -this.padding, keys, values);
    });
  }

  private rows(layer: number, from: number, to: number): { keys: FloatArray; values: FloatArray } {
    const [start, end] = [from, to].map((row) => (this.padding + row) * this.rowSize);
    const { keys, values } = this.store(layer);
    return { keys: keys.subarray(start, end), values: values.subarray(start, end) };
  }

  private store(layer: number): { keys: FloatArray; values: FloatArray } {
    const { compute, layers } = this.shape;
    if (layer < 0 || layer >= layers) throw new RangeError(`K/V cache of ${layers} layers, layer ${layer} was used`);
    const known = this.stores[layer];
    if (known) return known;
    const size = (this.padding + this.capacity) * this.rowSize;
    const store = { keys: allocate(compute, size), values: allocate(compute, size) };
    this.stores[layer] = store;
    return store;
  }
}
