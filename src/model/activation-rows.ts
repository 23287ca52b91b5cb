/** Rows of captured tensors: one position of one hook, as it is compared and as it is written to a file. */
import type { ModelConfig } from '../checkpoint/types.ts';
import type { Axis, Hook } from '../graph/hooks.ts';
import type { StorageType } from '../numerics/types.ts';
import type { FloatArray } from './arrays.ts';
import type { Activation } from './executor.ts';

/** One row of an activations file, without the run's condition, prompt and arm. */
export interface ActivationRecord {
  kind: string;
  hook: string;
  layer: number;
  step: number;
  /** Absolute position of the row. */
  position: number;
  /** Input token at that position. */
  token: number;
  dtype: StorageType;
  /** Sizes and names of the remaining axes. */
  shape: number[];
  axes: Axis[];
  value: FloatArray;
}

/** Axis along which a hook has one entry per position. */
export function positionAxis({ name, definition }: Hook): number {
  const axis = definition.axes.findIndex((axis) => axis === 'pos' || axis === 'query' || axis === 'cache');
  if (axis < 0) throw new Error(`${name} has no position axis`);
  return axis;
}

/** Number of rows a captured tensor holds. */
export function rowCount(hook: Hook, { dims }: Activation): number {
  return dims[positionAxis(hook)];
}

/** Row `index` along the position axis (of every head, for a query row), flattened; a view where it is contiguous. */
export function rowAt(hook: Hook, { data, dims }: Activation, index: number): FloatArray {
  const axis = positionAxis(hook);
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
  if (outer === 1) return data.subarray(index * inner, (index + 1) * inner);
  const row = data instanceof Float64Array ? new Float64Array(outer * inner) : new Float32Array(outer * inner);
  for (let i = 0; i < outer; i++) {
    const at = (i * dims[axis] + index) * inner;
    row.set(data.subarray(at, at + inner), i * inner);
  }
  return row;
}

/** Numbers one position of a hook has in a pass over n rows with no past. */
export function rowElements(hook: Hook, config: ModelConfig, n: number): number {
  const { heads, kvHeads, headDim, hiddenSize, intermediateSize, vocabSize } = config;
  const sizes: Partial<Record<Axis, number>> = {
    ...{ head: heads, kv_head: kvHeads, d_head: headDim, d_model: hiddenSize, d_mlp: intermediateSize },
    ...{ d_vocab: vocabSize, key: n },
  };
  return hook.definition.axes.reduce((total, axis) => total * (sizes[axis] ?? 1), 1);
}

/** The newest position's row: the last along `pos`, or the last query of every head. */
export function newestRow(hook: Hook, activation: Activation): FloatArray {
  return rowAt(hook, activation, rowCount(hook, activation) - 1);
}

/** The newest `count` rows as an activation of their own, copied. */
export function newestRows(hook: Hook, activation: Activation, count: number): Activation {
  const { data, dims, dtype } = activation;
  const axis = positionAxis(hook);
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const kept = Math.min(count, dims[axis]);
  const size = outer * kept * inner;
  const rows = data instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  for (let i = 0; i < outer; i++) {
    const end = (i + 1) * dims[axis] * inner;
    rows.set(data.subarray(end - kept * inner, end), i * kept * inner);
  }
  return { data: rows, dims: dims.map((length, i) => (i === axis ? kept : length)), dtype };
}

/** Row `index` as a record with a copy of its values. */
export function activationRecord(
  hook: Hook,
  activation: Activation,
  index: number,
  place: { step: number; position: number; token: number },
): ActivationRecord {
  const { kind, axes } = hook.definition;
  const axis = positionAxis(hook);
  const rest = axes.map((name, i) => ({ name, size: activation.dims[i] })).filter((_, i) => i !== axis && i > 0);
  return {
    ...{ kind, hook: hook.name, layer: hook.layer, dtype: activation.dtype, ...place },
    shape: rest.map(({ size }) => size),
    axes: rest.map(({ name }) => name),
    value: rowAt(hook, activation, index).slice(),
  };
}
