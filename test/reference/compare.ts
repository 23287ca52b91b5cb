/** How far a tensor is from the reference's. */

interface Tensor {
  data: ArrayLike<number>;
  dims: readonly number[];
}

/**
 * ‖found − expected‖ / ‖expected‖ over the whole tensor; infinite where the shapes, or the positions of the masked
 * scores (−∞), differ. NaN counts as infinitely far.
 */
export function relativeDistance(found: Tensor, expected: Tensor): number {
  if (found.dims.join() !== expected.dims.join() || found.data.length !== expected.data.length) return Infinity;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.data.length; i++) {
    if (expected.data[i] === -Infinity && found.data[i] === -Infinity) continue;
    difference += (found.data[i] - expected.data[i]) ** 2;
    norm += expected.data[i] ** 2;
  }
  const distance = Math.sqrt(difference / norm);
  return Number.isFinite(distance) ? distance : Infinity;
}

/** The slice at the last index of `axis`, that axis kept with size 1. */
export function newest({ data, dims }: Tensor, axis: number): { data: Float64Array; dims: number[] } {
  const inner = dims.slice(axis + 1).reduce((product, size) => product * size, 1);
  const outer = data.length / (inner * dims[axis]);
  const slice = new Float64Array(outer * inner);
  for (let i = 0; i < outer; i++)
    for (let j = 0; j < inner; j++) slice[i * inner + j] = data[((i + 1) * dims[axis] - 1) * inner + j];
  return { data: slice, dims: dims.map((size, at) => (at === axis ? 1 : size)) };
}
