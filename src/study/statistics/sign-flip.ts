/** Is a sum of per-prompt differences more than chance? The sign-flip permutation test. */
import { RandomStream } from '../../numerics/random.ts';

/** Up to this many non-zero differences every pattern of signs is counted. */
const exactUpTo = 18;
/** Whole differences whose sizes add up to at most this are exact, however many. */
const largestSum = 20_000;

export interface SignFlip {
  /** Two-sided: patterns of signs whose |sum| is at least the observed one. */
  p: number;
  sum: number;
  /** Differences that are not 0: only they carry information. */
  informative: number;
  exact: boolean;
}

/**
 * Under the null that a prompt's difference could as well have had the other sign.
 * @param draws random patterns where there are too many to count; the observed one counts as one more
 * Source: Fisher 1935; Phipson and Smyth 2010 for the +1.
 */
export function signFlipTest(differences: readonly number[], seed: number, draws = 100_000): SignFlip {
  const values = differences.filter((value) => value !== 0);
  const sum = values.reduce((total, value) => total + value, 0);
  const informative = values.length;
  const size = Math.abs(sum);
  const sizes = values.map(Math.abs);
  if (values.every(Number.isInteger) && sizes.reduce((total, value) => total + value, 0) <= largestSum) {
    return { p: wholeTail(sizes, size), sum, informative, exact: true };
  }
  if (informative <= exactUpTo) {
    let extreme = 0;
    for (let pattern = 0; pattern < 2 ** informative; pattern++) {
      let flipped = 0;
      for (let i = 0; i < informative; i++) flipped += (pattern & (1 << i)) === 0 ? values[i] : -values[i];
      if (Math.abs(flipped) >= size) extreme += 1;
    }
    return { p: extreme / 2 ** informative, sum, informative, exact: true };
  }
  const stream = new RandomStream(seed, 'sign-flip');
  let extreme = 0;
  for (let draw = 0; draw < draws; draw++) {
    let flipped = 0;
    for (const value of values) flipped += stream.uniform() < 0.5 ? value : -value;
    if (Math.abs(flipped) >= size) extreme += 1;
  }
  return { p: (extreme + 1) / (draws + 1), sum, informative, exact: false };
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
