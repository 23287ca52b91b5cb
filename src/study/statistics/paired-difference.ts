/** How far apart two shares are that were measured on the same prompts. */
import type { Interval } from '../../numerics/bootstrap.ts';
import type { Discordant } from './mcnemar.ts';

/** 97.5 % quantile of the standard normal distribution. */
const z = 1.959963984540054;

/**
 * 95 % score interval of p_first − p_second over n pairs, of which the discordant ones are given: the differences δ whose
 * score statistic
 *
 *   T(δ) = (b − c − n δ) / √(n (2 q + δ (1 − δ)))
 *
 * lies within ±z, q being the maximum-likelihood estimate of P(only the second) under δ. It has a width where no pair is
 * discordant: ± z² / (n + z²). Source: Tango 1998, Statistics in Medicine 17, 891.
 */
export function pairedDifferenceInterval(discordant: Discordant, n: number): Interval {
  return { low: crossing(discordant, n, z), high: crossing(discordant, n, -z) };
}

/** The δ at which T falls through a level; T decreases from +∞ at −1 to −∞ at 1. */
function crossing({ first, second }: Discordant, n: number, level: number): number {
  const statistic = (delta: number) => {
    const a = 2 * n;
    const b = -first - second + (2 * n - first + second) * delta;
    const c = -second * delta * (1 - delta);
    const root = Math.sqrt(Math.max(0, b * b - 4 * a * c));
    // Of the two forms of the root, the one that does not subtract equal numbers.
    const q = b > 0 ? (-2 * c) / (root + b) : (root - b) / (2 * a);
    const variance = n * (2 * q + delta * (1 - delta));
    const distance = first - second - n * delta;
    return variance > 0 ? distance / Math.sqrt(variance) : distance === 0 ? 0 : Math.sign(distance) * Infinity;
  };
  let [low, high] = [-1, 1];
  // 60 halvings of [−1, 1] leave less than the spacing of doubles near 1.
  for (let halving = 0; halving < 60; halving++) {
    const middle = (low + high) / 2;
    if (statistic(middle) > level) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
