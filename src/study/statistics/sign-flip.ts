/** Is a sum of per-prompt differences more than chance? The sign-flip permutation test. */
import { evenly, sumOf } from '../../numerics/whole-sums.ts';

export interface SignFlip {
  /** Two-sided: patterns of signs whose |sum| is at least the observed one. */
  p: number;
  sum: number;
  /** Differences that are not 0: only they carry information. */
  informative: number;
}

/**
 * Under the null that a prompt's difference could as well have had the other sign. Every pattern of signs counts.
 * @param differences whole numbers
 * @throws RangeError for another number: a bug, never bad input
 * Source: Fisher 1935.
 */
export function signFlipTest(differences: readonly number[]): SignFlip {
  if (!differences.every(Number.isSafeInteger)) throw new RangeError('sign-flip test: a difference is not whole');
  const values = differences.filter((value) => value !== 0);
  const sum = values.reduce((total, value) => total + value, 0);
  return { p: wholeTail(values.map(Math.abs), Math.abs(sum)), sum, informative: values.length };
}

/** P(|Σ ± size| ≥ observed) with fair signs. */
function wholeTail(sizes: readonly number[], observed: number): number {
  const { least, chance } = sumOf(sizes.map((size) => evenly([-size, size])));
  return Math.min(
    1,
    chance.reduce((tail, each, i) => (Math.abs(least + i) >= observed ? tail + each : tail), 0),
  );
}
