/** Is a sum of per-prompt differences more than chance? The sign-flip permutation test. */

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

/** P(|Σ ± size| ≥ observed) with fair signs, from the distribution of the sum: one convolution per difference. */
function wholeTail(sizes: readonly number[], observed: number): number {
  const reach = sizes.reduce((total, size) => total + size, 0);
  // chance[reach + s]: of the sum s so far.
  let chance = new Float64Array(2 * reach + 1);
  chance[reach] = 1;
  let span = 0;
  for (const size of sizes) {
    const next = new Float64Array(2 * reach + 1);
    for (let s = reach - span; s <= reach + span; s++) {
      next[s - size] += chance[s] / 2;
      next[s + size] += chance[s] / 2;
    }
    chance = next;
    span += size;
  }
  let tail = 0;
  for (let s = observed; s <= reach; s++) tail += s === 0 ? chance[reach] : chance[reach - s] + chance[reach + s];
  return Math.min(1, tail);
}
