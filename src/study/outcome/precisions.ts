/** Which part a precision plays in a study: found from what it rounds, never from its name. */
import type { KernelPreset } from '../../graph/kernels.ts';
import { places, type RoundingPolicy, typeAt } from '../../graph/rounding.ts';
import { formats } from '../../numerics/types.ts';

/** A policy that rounds to a 16-bit type wherever it says nothing else: what the claims are about. */
export function isHalf({ default: type }: RoundingPolicy): boolean {
  return type === 'f16' || type === 'bf16';
}

/** A policy that rounds nowhere in single precision: the control. */
export function isSingle(policy: RoundingPolicy): boolean {
  return policy.compute === 'float32' && places.every((place) => typeAt(policy, place) === 'f32');
}

/** A policy that keeps a half policy's rounded weights (and perhaps its rotary tables), every activation in single precision. */
export function isWideActivations(policy: RoundingPolicy, half: RoundingPolicy): boolean {
  if (policy.compute !== 'float32' || policy.default !== 'f32') return false;
  if (typeAt(policy, 'weights') !== half.default) return false;
  return places.every((place) => {
    const type = typeAt(policy, place);
    return place === 'weights' || type === 'f32' || (place === 'rotary_table' && type === half.default);
  });
}

/** True where every reordered sum is accumulated in single precision: no partial sums are combined in the storage type. */
export function accumulatesInSingle({ prefill, decode }: KernelPreset): boolean {
  return [prefill, decode].every(({ classes = {} }) =>
    Object.values(classes).every(({ combine }) => combine !== 'storage'),
  );
}

/** True where the query heads of a K/V group are rows of one matmul in decode steps. */
export function foldsHeads({ decode }: KernelPreset): boolean {
  return decode.attention === 'folded';
}

/** What rounding alone predicts of half against single precision, in decades: u_half / u_single, and its square. */
export function predictedDecades({ default: type }: RoundingPolicy) {
  const bits = formats.f32.significandBits - formats[type].significandBits;
  const powersOfTwo: [number, number] = [bits, 2 * bits];
  return { linear: bits * Math.log10(2), quadratic: 2 * bits * Math.log10(2), powersOfTwo };
}
