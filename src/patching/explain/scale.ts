/** Whether numbers are others times one factor, rounded: the factor, and the interval of factors that give the same bits. */
import type { FloatArray } from '../../model/arrays.ts';
import { exponentOf, roundTo } from '../../numerics/half.ts';
import { formats, type StorageType } from '../../numerics/types.ts';

export interface Scale {
  value: number;
  /** Every factor strictly between gives these bits, or all but a few at the ends. */
  low: number;
  high: number;
}

/**
 * The factor f with after[i] = round(before[i] · f) for every i, or null. Of the factors that do, the simplest is taken: a
 * small ratio or 1 ± 2^-k, else the middle. Factor 0 is no scale.
 */
export function scaleOf(before: FloatArray, after: FloatArray, type: StorageType): Scale | null {
  let low = -Infinity;
  let high = Infinity;
  for (let i = 0; i < before.length; i++) {
    const [w, r] = [before[i], after[i]];
    if (w === 0 || !Number.isFinite(w) || !Number.isFinite(r)) continue;
    const half = spacing(r, type) / 2;
    const ends = [(r - half) / w, (r + half) / w];
    low = Math.max(low, Math.min(...ends));
    high = Math.min(high, Math.max(...ends));
  }
  if (!(low <= high) || low === -Infinity || high === Infinity) return null;
  const gives = (factor: number) =>
    factor !== 0 && before.every((value, i) => Object.is(roundTo(type, value * factor), after[i]));
  const value = [...simpleFactors(), (low + high) / 2].find(
    (factor) => factor >= low && factor <= high && gives(factor),
  );
  return value === undefined ? null : { value, low, high };
}

function simpleFactors(): number[] {
  const ratios = [2, 0.5, -1, 4, 0.25, 3, -2, 8, 0.125, 10, 0.1];
  const near = Array.from({ length: 24 }, (_, i) => [1 + 2 ** -(i + 1), 1 - 2 ** -(i + 1)]);
  return [...ratios, ...near.flat()];
}

/** Distance between neighbouring numbers of `type` around `value`. */
function spacing(value: number, type: StorageType): number {
  const { significandBits, minExponent } = formats[type];
  const exponent = value === 0 ? minExponent : Math.max(exponentOf(value), minExponent);
  return 2 ** (exponent - significandBits + 1);
}
