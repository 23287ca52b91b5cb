/** Several patches on one hook as one: a graph has one patch point per hook. */
import type { FloatArray } from './arrays.ts';
import type { Patch } from './executor.ts';

/** One patch per hook; where several replace the same element, the last one does. */
export function overlayPatches(patches: readonly Patch[]): Patch[] {
  const byHook = new Map<string, Patch>();
  for (const patch of patches) {
    const earlier = byHook.get(patch.hook);
    byHook.set(patch.hook, earlier ? overlay(earlier, patch) : patch);
  }
  return [...byHook.values()];
}

function overlay(lower: Patch, upper: Patch): Patch {
  const dims = [lower.mask, lower.value, upper.mask, upper.value].reduce<number[]>(
    (all, part) => broadcast(upper.hook, all, part.dims),
    [],
  );
  const size = dims.reduce((a, b) => a * b, 1);
  const mask = new Uint8Array(size);
  const double = upper.value.data instanceof Float64Array;
  const value: FloatArray = double ? new Float64Array(size) : new Float32Array(size);
  for (const patch of [lower, upper]) {
    const maskAt = indexer(dims, patch.mask.dims);
    const valueAt = indexer(dims, patch.value.dims);
    for (let i = 0; i < size; i++) {
      if (patch.mask.data[maskAt(i)] === 0) continue;
      mask[i] = 1;
      value[i] = patch.value.data[valueAt(i)];
    }
  }
  return { hook: upper.hook, mask: { data: mask, dims }, value: { data: value, dims } };
}

function broadcast(hook: string, a: readonly number[], b: readonly number[]): number[] {
  if (a.length === 0) return [...b];
  if (a.length !== b.length) throw new Error(`${hook}: patches of ${a.length} and ${b.length} axes`);
  return a.map((size, axis) => {
    if (size !== b[axis] && size !== 1 && b[axis] !== 1)
      throw new Error(`${hook}: patches of sizes ${size} and ${b[axis]}`);
    return Math.max(size, b[axis]);
  });
}

/** From a row-major index in `dims` to one in `inner`, whose axes of size 1 repeat. */
function indexer(dims: readonly number[], inner: readonly number[]): (index: number) => number {
  const strides = inner.map((size, axis) => (size === 1 ? 0 : inner.slice(axis + 1).reduce((a, b) => a * b, 1)));
  const outer = dims.map((_, axis) => dims.slice(axis + 1).reduce((a, b) => a * b, 1));
  return (index) => {
    let at = 0;
    for (let axis = 0; axis < dims.length; axis++) at += (Math.floor(index / outer[axis]) % dims[axis]) * strides[axis];
    return at;
  };
}
