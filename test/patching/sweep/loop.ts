/** Patching the way one would write it by hand: a hook function per cell, one run each. The sweep's source of truth. */
import ndarray, { type NdArray } from 'ndarray';
import type { ActivationCache } from '../../../src/model/activation-cache.ts';
import type { FloatArray } from '../../../src/model/arrays.ts';
import type { Model } from '../../../src/model/model.ts';

/** Every index of an array of these sizes, in row-major order. */
export function indicesOf(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}

/** Logits of the corrupted prompt with the entries that `at` accepts taken from the clean run. */
export async function patchedByHand(
  model: Model,
  corrupted: readonly number[],
  clean: ActivationCache,
  hook: string,
  at: (index: readonly number[]) => boolean,
): Promise<NdArray<FloatArray>> {
  const source = clean.get(hook);
  const patch = (value: NdArray<FloatArray>) => {
    for (const index of indicesOf(value.shape)) if (at(index)) value.set(...index, source.get(...index));
    return value;
  };
  const { logits } = await model.runWithHooks(corrupted, [[hook, patch]]);
  return logits ?? ndarray(new Float32Array(), [0]);
}

/** Numbers whose bits differ; zeros of unlike sign are equal. */
export function differing(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} numbers against ${b.length}`);
  return Array.from(a).filter((x, i) => x !== b[i] && !(Number.isNaN(x) && Number.isNaN(b[i]))).length;
}
