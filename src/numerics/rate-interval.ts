/** Intervals of a rate from its count. */

/** 97.5 % quantile of the standard normal distribution. */
const z = 1.959963984540054;

/**
 * Wilson's 95 % score interval of a rate, count of n; both ends lie in [0, 1], and it is meaningful at 0 and n.
 * Source: E. B. Wilson, JASA 22 (1927) 209.
 */
export function rateInterval(count: number, n: number): { low: number; high: number } {
  const p = count / n;
  const denominator = 1 + (z * z) / n;
  const center = (p + (z * z) / (2 * n)) / denominator;
  const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / denominator;
  return { low: count === 0 ? 0 : Math.max(0, center - half), high: count === n ? 1 : Math.min(1, center + half) };
}
