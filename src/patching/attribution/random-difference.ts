/** Random differences of a row: of a wanted size, and representable in the row's type. */
import { distance } from '../../divergence/counterfactual.ts';
import { allocate, type FloatArray } from '../../model/arrays.ts';
import { roundTo } from '../../numerics/half.ts';
import type { RandomStream } from '../../numerics/random.ts';
import type { StorageType } from '../../numerics/types.ts';

/** Bisections of the scale; the distance is a staircase, so more would not come closer. */
const bisections = 24;

/**
 * x + δ, rounded to `dtype`, where δ points in a random direction (independent normal numbers) and ‖x + δ − x‖, after
 * rounding, is as near to `size` as the type allows along that direction.
 */
export function randomNeighbour(x: FloatArray, size: number, dtype: StorageType, stream: RandomStream): FloatArray {
  const direction = Float64Array.from(x, () => stream.normal());
  const norm = Math.hypot(...direction);
  const at = (scale: number) => {
    const moved = allocate(x instanceof Float64Array ? 'f64' : 'f32', x.length);
    for (let i = 0; i < x.length; i++) moved[i] = roundTo(dtype, x[i] + (scale * direction[i]) / norm);
    return moved;
  };
  // A scale beyond `size` can be needed: rounding swallows what is below half a unit.
  let high = size;
  for (let doublings = 0; distance(at(high), x) < size && doublings < 64; doublings++) high *= 2;
  let low = 0;
  for (let i = 0; i < bisections; i++) {
    const middle = (low + high) / 2;
    if (distance(at(middle), x) < size) low = middle;
    else high = middle;
  }
  const [below, above] = [at(low), at(high)];
  const isBelowNearer = size - distance(below, x) < distance(above, x) - size && distance(below, x) > 0;
  return isBelowNearer ? below : above;
}
