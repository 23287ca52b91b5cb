/** Patches of one hook on top of each other, by hand. */
import { expect, test } from 'vitest';
import type { Patch } from '../../src/model/executor.ts';
import { overlayPatches } from '../../src/model/overlay-patches.ts';

const patch = (mask: number[], maskDims: number[], value: number[], valueDims: number[], hook = 'a'): Patch => ({
  hook,
  mask: { data: Uint8Array.from(mask), dims: maskDims },
  value: { data: Float32Array.from(value), dims: valueDims },
});

test('patches of different hooks stay what they are', () => {
  const both = [patch([1], [1], [2], [1], 'a'), patch([1], [1], [3], [1], 'b')];
  expect(overlayPatches(both)).toEqual(both);
});

test('broadcast masks and values are joined; where both are on, the later one is the value', () => {
  // [row, head]: the lower patch replaces row 1 of both heads, the upper one head 1 of both rows.
  const lower = patch([0, 1], [2, 1], [1, 2, 3, 4], [2, 2]);
  const upper = patch([0, 1], [1, 2], [9], [1, 1]);
  const [joined] = overlayPatches([lower, upper]);
  expect(joined.mask).toEqual({ data: Uint8Array.from([0, 1, 1, 1]), dims: [2, 2] });
  expect([...joined.value.data]).toEqual([0, 9, 3, 9]);
});

test('sizes that do not go together are a bug', () => {
  expect(() => overlayPatches([patch([1, 1], [2], [1], [1]), patch([1, 1, 1], [3], [1], [1])])).toThrow(
    /sizes 2 and 3/,
  );
});
