/**
 * Compare rows of two tensors: how many elements differ in their bits, and by how much.
 *
 * Sums are kept in a mergeable accumulator, so that rows can be compared once and reused. A ±0 pair is equal for
 * `n_differ` and counted apart in `signed_zero`; elements where either side is not finite are counted, compared by
 * their bits, and left out of every distance.
 */
import { exponentOf } from '../../numerics/half.ts';
import { formats, type StorageType } from '../../numerics/types.ts';

type FloatArray = Float32Array | Float64Array;

/** Running sums over compared elements. */
export interface Comparison {
  nElements: number;
  nDiffer: number;
  signedZero: number;
  signFlips: number;
  nonfinite: number;
  nan: number;
  nonfiniteDiffer: number;
  maxAbs: number;
  squaredDifference: number;
  squaredCached: number;
  squaredUncached: number;
  dot: number;
  maxUlp: number;
  sumUlp: number;
  ulpRow: number;
}

/** The finished figures, named as the columns of layers.arrow. */
export interface RowStatistics {
  n_elements: number;
  n_differ: number;
  signed_zero: number;
  sign_flips: number;
  nonfinite: number;
  nan: number;
  max_abs: number;
  /**
   * ‖cached − uncached‖ / ‖uncached‖ over finite elements; 0 if the numerator is 0, Infinity if only the denominator is,
   * NaN (as max_abs and cosine) if a non-finite element differs.
   */
  rel_l2: number;
  max_ulp: number;
  mean_ulp: number;
  ulp_row: number;
  cosine: number;
}

export interface ComparisonOptions {
  /** The type the numbers are representable in; ULPs are counted in it. */
  dtype: StorageType;
  /** Length of the last axis. */
  rowLength: number;
}

/** An empty accumulator. */
export function createComparison(): Comparison {
  return {
    nElements: 0,
    nDiffer: 0,
    signedZero: 0,
    signFlips: 0,
    nonfinite: 0,
    nan: 0,
    nonfiniteDiffer: 0,
    maxAbs: 0,
    squaredDifference: 0,
    squaredCached: 0,
    squaredUncached: 0,
    dot: 0,
    maxUlp: 0,
    sumUlp: 0,
    ulpRow: 0,
  };
}

/** Add rows of equal shape to the accumulator. */
export function accumulate(c: Comparison, cached: FloatArray, uncached: FloatArray, options: ComparisonOptions): void {
  if (cached.length !== uncached.length)
    throw new RangeError(`rows of ${cached.length} and ${uncached.length} elements`);
  const { dtype, rowLength } = options;
  c.nElements += cached.length;
  for (let row = 0; row < cached.length; row += rowLength) {
    const end = Math.min(row + rowLength, cached.length);
    let rowMax = 0;
    let rowDifference = 0;
    for (let i = row; i < end; i++) {
      const a = cached[i];
      const b = uncached[i];
      if (a === b && a - a === 0) {
        const square = a * a;
        c.squaredCached += square;
        c.squaredUncached += square;
        c.dot += square;
        const size = a < 0 ? -a : a;
        if (size > rowMax) rowMax = size;
        if (a === 0 && !Object.is(a, b)) c.signedZero += 1;
        continue;
      }
      if (!Number.isFinite(a) || !Number.isFinite(b)) {
        c.nonfinite += 1;
        if (Number.isNaN(a) || Number.isNaN(b)) c.nan += 1;
        if (!Object.is(a, b)) {
          c.nDiffer += 1;
          c.nonfiniteDiffer += 1;
        }
        continue;
      }
      const difference = Math.abs(a - b);
      c.nDiffer += 1;
      c.squaredDifference += difference * difference;
      c.squaredCached += a * a;
      c.squaredUncached += b * b;
      c.dot += a * b;
      if (difference > c.maxAbs) c.maxAbs = difference;
      if (difference > rowDifference) rowDifference = difference;
      rowMax = Math.max(rowMax, Math.abs(a), Math.abs(b));
      if ((a < 0 && b > 0) || (a > 0 && b < 0)) c.signFlips += 1;
      const ulps = ulpDistance(dtype, a, b);
      if (ulps > c.maxUlp) c.maxUlp = ulps;
      c.sumUlp += ulps;
    }
    if (rowDifference > 0) c.ulpRow = Math.max(c.ulpRow, rowDifference / ulp(dtype, rowMax));
  }
}

/** Add another accumulator's sums. */
export function merge(into: Comparison, other: Comparison): void {
  into.nElements += other.nElements;
  into.nDiffer += other.nDiffer;
  into.signedZero += other.signedZero;
  into.signFlips += other.signFlips;
  into.nonfinite += other.nonfinite;
  into.nan += other.nan;
  into.nonfiniteDiffer += other.nonfiniteDiffer;
  into.maxAbs = Math.max(into.maxAbs, other.maxAbs);
  into.squaredDifference += other.squaredDifference;
  into.squaredCached += other.squaredCached;
  into.squaredUncached += other.squaredUncached;
  into.dot += other.dot;
  into.maxUlp = Math.max(into.maxUlp, other.maxUlp);
  into.sumUlp += other.sumUlp;
  into.ulpRow = Math.max(into.ulpRow, other.ulpRow);
}

/** The figures of an accumulator. */
export function finish(c: Comparison): RowStatistics {
  const finite = c.nElements - c.nonfinite;
  const norms = Math.sqrt(c.squaredCached) * Math.sqrt(c.squaredUncached);
  const defined = c.nonfiniteDiffer === 0;
  return {
    n_elements: c.nElements,
    n_differ: c.nDiffer,
    signed_zero: c.signedZero,
    sign_flips: c.signFlips,
    nonfinite: c.nonfinite,
    nan: c.nan,
    max_abs: defined ? c.maxAbs : Number.NaN,
    rel_l2: defined ? relative(c) : Number.NaN,
    max_ulp: c.maxUlp,
    mean_ulp: finite === 0 ? 0 : c.sumUlp / finite,
    ulp_row: c.ulpRow,
    cosine: defined ? cosine(c, norms) : Number.NaN,
  };
}

function relative({ squaredDifference, squaredUncached }: Comparison): number {
  return squaredDifference === 0 ? 0 : Math.sqrt(squaredDifference / squaredUncached);
}

/** Equal rows have cosine 1, zero rows included; a zero row has no direction to compare with another row's. */
function cosine({ squaredDifference, dot }: Comparison, norms: number): number {
  if (squaredDifference === 0) return 1;
  return norms === 0 ? Number.NaN : dot / norms;
}

/** Spacing of the type's numbers at `magnitude` (the subnormal spacing below the smallest normal number). */
export function ulp(dtype: StorageType, magnitude: number): number {
  const { significandBits, minExponent } = formats[dtype];
  const exponent = magnitude === 0 ? minExponent : Math.max(exponentOf(magnitude), minExponent);
  return 2 ** (exponent - significandBits + 1);
}

/** How many numbers of the type lie between a and b, counting through zero for unlike signs. */
export function ulpDistance(dtype: StorageType, a: number, b: number): number {
  if (dtype === 'f64') return doubleDistance(a, b);
  if (a < 0 !== b < 0 && a !== 0 && b !== 0) return ulpIndex(dtype, Math.abs(a)) + ulpIndex(dtype, Math.abs(b));
  return Math.abs(ulpIndex(dtype, Math.abs(a)) - ulpIndex(dtype, Math.abs(b)));
}

const doubles = new Float64Array(2);
const doubleBits = new BigInt64Array(doubles.buffer);
const magnitudeBits = 0x7fffffffffffffffn;

/** Ordinals of doubles exceed 2^53, so their difference is taken in whole numbers. */
function doubleDistance(a: number, b: number): number {
  doubles[0] = a;
  doubles[1] = b;
  const [i, j] = Array.from(doubleBits, (bits) => (bits < 0n ? -(bits & magnitudeBits) : bits));
  return Number(i > j ? i - j : j - i);
}

/** The ordinal of a non-negative number among the type's numbers: 0 is 0, the smallest subnormal is 1. */
function ulpIndex(dtype: StorageType, magnitude: number): number {
  if (magnitude === 0) return 0;
  const { significandBits, minExponent } = formats[dtype];
  const exponent = Math.max(exponentOf(magnitude), minExponent);
  const steps = magnitude / 2 ** (exponent - significandBits + 1);
  return (exponent - minExponent) * 2 ** (significandBits - 1) + steps;
}
