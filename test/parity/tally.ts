/** Counting elements that differ, in steps of a half type, and how many of them accumulation order explains. */
import type { FloatArray } from '../../src/model/arrays.ts';
import { bfloat16Bits, exponentOf, float16Bits } from '../../src/numerics/half.ts';
import { formats, type StorageType } from '../../src/numerics/types.ts';

/** What was found at one rounding place. */
export interface Tally {
  /** Elements whose half number two float32 results determine to one step. */
  elements: number;
  /** Those of them that differ. */
  flips: number;
  /** Flips that float32 results before the rounding explain: the sum over elements of E|Δ_fp32| / ulp. */
  law: number;
  /** The largest difference in steps of the half type. */
  largest: number;
  /** Elements so small, against what they are sums of, that float32 leaves open which half number is nearest. */
  cancelled: number;
  /** Those of them that differ. */
  cancelledFlips: number;
  /** Those of them that differ by more than float32 leaves open and one step. */
  beyond: number;
}

export const newTally = (): Tally => ({
  ...{ elements: 0, flips: 0, law: 0, largest: 0 },
  ...{ cancelled: 0, cancelledFlips: 0, beyond: 0 },
});

/** Add one tally to another. */
export function addTally(into: Tally, other: Tally): void {
  for (const key of ['elements', 'flips', 'law', 'cancelled', 'cancelledFlips', 'beyond'] as const)
    into[key] += other[key];
  into.largest = Math.max(into.largest, other.largest);
}

/** How far two float32 results before the rounding are apart: what is expected of an element, and the most. */
export interface Float32Difference {
  expected(i: number): number;
  most(i: number): number;
}

/** An operation that IEEE 754 defines leaves nothing open. */
export const noDifference: Float32Difference = { expected: () => 0, most: () => 0 };

/**
 * Sums: our float32 results are measured against float64 on the same terms. Theirs are taken to err as much, so elements
 * are apart by twice our error, and by at most four times the largest in the tensor.
 */
export function ofSums(float32: FloatArray, exact: FloatArray, visible: FloatArray | null): Float32Difference {
  let largest = 0;
  for (let i = 0; i < exact.length; i++) {
    if (visible?.[i] !== 0) largest = Math.max(largest, Math.abs(float32[i] - exact[i]));
  }
  return { expected: (i) => 2 * Math.abs(float32[i] - exact[i]), most: () => 4 * largest };
}

/**
 * exp, tanh and rsqrt with a few operations around them: within some float32 roundings of `scale`, whatever our own
 * kernels do, since a bad one must not excuse itself.
 */
export function ofFunctions(scale: (i: number) => number): Float32Difference {
  const unit = 2 ** -24;
  return { expected: (i) => 4 * unit * Math.abs(scale(i)), most: (i) => 16 * unit * Math.abs(scale(i)) };
}

/** Both results are known. */
export function ofKnown(ours: FloatArray, theirs: FloatArray): Float32Difference {
  const apart = (i: number) => Math.abs(ours[i] - theirs[i]);
  return { expected: apart, most: apart };
}

/**
 * Compare `found` with `expected`, numbers of `type`, element by element; where `visible` is given and 0, they are not
 * compared.
 */
export function tally(
  into: Tally,
  type: StorageType,
  found: FloatArray,
  expected: FloatArray,
  float32: Float32Difference = noDifference,
  visible: FloatArray | null = null,
): void {
  if (found.length !== expected.length) throw new Error(`found ${found.length} numbers, expected ${expected.length}`);
  for (let i = 0; i < found.length; i++) {
    if (visible?.[i] === 0) continue;
    const step = spacing(type, expected[i]);
    const open = float32.most(i);
    const differs = found[i] !== expected[i];
    if (open >= step) {
      into.cancelled += 1;
      if (differs) into.cancelledFlips += 1;
      if (differs && !(Math.abs(found[i] - expected[i]) <= open + step)) into.beyond += 1;
    } else {
      into.elements += 1;
      into.law += float32.expected(i) / step;
      if (differs) into.flips += 1;
      if (differs) into.largest = Math.max(into.largest, steps(type, found[i], expected[i]));
    }
  }
}

/** How many numbers of the type lie from `a` to `b`; infinitely many if one is no number. */
function steps(type: StorageType, a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Infinity;
  const order = (value: number) => {
    const bits = type === 'f16' ? float16Bits(value) : bfloat16Bits(value);
    return bits & 0x8000 ? -(bits & 0x7fff) : bits;
  };
  return Math.abs(order(a) - order(b));
}

/** The distance between neighbours at `value`. */
function spacing(type: StorageType, value: number): number {
  const { significandBits, minExponent } = formats[type];
  const exponent = value === 0 ? minExponent : Math.max(exponentOf(value), minExponent);
  return 2 ** (exponent - significandBits + 1);
}
