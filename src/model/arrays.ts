/** The float arrays activations live in: float32, or float64 for policies that compute in double. */
import { Tensor } from './onnxruntime.ts';

export type FloatArray = Float32Array | Float64Array;

/** A zeroed array of the compute type. */
export function allocate(compute: 'f32' | 'f64', length: number): FloatArray {
  return compute === 'f64' ? new Float64Array(length) : new Float32Array(length);
}

/** Wrap an array as a tensor without copying it. */
export function floatTensor(data: FloatArray, dims: readonly number[]): Tensor {
  return data instanceof Float64Array ? new Tensor('float64', data, dims) : new Tensor('float32', data, dims);
}

/** The numbers of a float tensor, without copying them. */
export function floatData(tensor: Tensor): FloatArray {
  const { data } = tensor;
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  throw new Error(`expected a float tensor, found ${tensor.type}`);
}
