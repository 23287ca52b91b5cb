/** The K/V cache: preallocated memory per layer, new rows appended, attention fed views of it. */
import { allocate, type FloatArray } from './arrays.ts';

export interface CacheShape {
  layers: number;
  kvHeads: number;
  headDim: number;
  compute: 'f32' | 'f64';
}

/** Rows [pos, kv_head, d_head] of keys (after rotary) and values, for every layer. */
export class KVCache {
  readonly capacity: number;
  /** Numbers per row: kv_head · d_head. */
  readonly rowSize: number;
  private readonly keys: FloatArray[];
  private readonly values: FloatArray[];

  constructor(shape: CacheShape, capacity: number) {
    this.capacity = capacity;
    this.rowSize = shape.kvHeads * shape.headDim;
    const store = () => Array.from({ length: shape.layers }, () => allocate(shape.compute, capacity * this.rowSize));
    this.keys = store();
    this.values = store();
  }

  /** Write rows start, start + 1, … of one layer; rows that exist are overwritten. */
  write(layer: number, start: number, keys: FloatArray, values: FloatArray): void {
    if (start * this.rowSize + keys.length > this.keys[layer].length) {
      throw new RangeError(
        `K/V cache holds ${this.capacity} rows, row ${start + keys.length / this.rowSize} was written`,
      );
    }
    this.keys[layer].set(keys, start * this.rowSize);
    this.values[layer].set(values, start * this.rowSize);
  }

  /** Rows [0, length) of one layer, as views: they change when those rows are overwritten. */
  view(layer: number, length: number): { keys: FloatArray; values: FloatArray } {
    const end = length * this.rowSize;
    return { keys: this.keys[layer].subarray(0, end), values: this.values[layer].subarray(0, end) };
  }

  /** Copy rows [0, length) of every layer from another cache of the same shape. */
  copyFrom(other: KVCache, length: number): void {
    for (let layer = 0; layer < this.keys.length; layer++) {
      const { keys, values } = other.view(layer, length);
      this.write(layer, 0, keys, values);
    }
  }
}
