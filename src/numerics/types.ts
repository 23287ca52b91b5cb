/** The storage types a value can be rounded to, and what a unit of rounding is in each. */

/** IEEE binary16, bfloat16, binary32, binary64. */
export type StorageType = 'f16' | 'bf16' | 'f32' | 'f64';

/** Significand bits (with the hidden one), and the exponent of the smallest normal number, per type. */
export const formats: Record<StorageType, { significandBits: number; minExponent: number; maxFinite: number }> = {
  f16: { significandBits: 11, minExponent: -14, maxFinite: 65504 },
  bf16: { significandBits: 8, minExponent: -126, maxFinite: 3.3895313892515355e38 },
  f32: { significandBits: 24, minExponent: -126, maxFinite: 3.4028234663852886e38 },
  f64: { significandBits: 53, minExponent: -1022, maxFinite: Number.MAX_VALUE },
};

/** u, the unit roundoff: half the distance from 1 to the next larger number (2^-11 for f16). */
export function unitRoundoff(type: StorageType): number {
  return 2 ** -formats[type].significandBits;
}

/** True if every value of `inner` is a value of `outer` (f16 and bf16 do not contain each other). */
export function contains(outer: StorageType, inner: StorageType): boolean {
  if (outer === inner || outer === 'f64') return true;
  return outer === 'f32' && inner !== 'f64';
}

/** The narrowest type that contains both. */
export function join(a: StorageType, b: StorageType): StorageType {
  if (contains(a, b)) return a;
  return contains(b, a) ? b : 'f32';
}
