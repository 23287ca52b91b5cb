/** Paired yes/no outcomes of two arms on the same prompts: the exact McNemar test. */

/** Prompts where exactly one arm is right. */
export interface Discordant {
  /** Only the first arm is right. */
  first: number;
  /** Only the second arm is right. */
  second: number;
}

/**
 * Two-sided p of the exact McNemar test: twice the smaller binomial tail of `first + second` fair coins, at most 1.
 * Source: McNemar 1947; exact form as in Agresti, Categorical Data Analysis, 10.1.
 */
export function exactMcNemar({ first, second }: Discordant): number {
  const n = first + second;
  const few = Math.min(first, second);
  let tail = 0;
  for (let k = 0; k <= few; k++) tail += Math.exp(logBinomial(n, k) - n * Math.LN2);
  return Math.min(1, 2 * tail);
}

/** The smallest p that n discordant pairs can give: 2^(1 − n). Above the level in use the condition is untestable. */
export function smallestP(discordant: number): number {
  return Math.min(1, 2 ** (1 - discordant));
}

/**
 * How many discordant pairs a condition needs before any p can pass a family of `conditions`: the smallest n with
 * 2^(1 − n) ≤ 0.05 / conditions. With fewer it is untestable.
 */
export function neededDiscordant(conditions: number): number {
  let n = 1;
  while (smallestP(n) > 0.05 / conditions) n += 1;
  return n;
}

/**
 * Holm's step-down adjustment: p values in the order they were given, each comparable with the family's level.
 * Source: Holm 1979.
 */
export function holm(p: readonly number[]): number[] {
  const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b]);
  const adjusted = new Array<number>(p.length);
  let largest = 0;
  order.forEach((index, rank) => {
    largest = Math.max(largest, Math.min(1, (p.length - rank) * p[index]));
    adjusted[index] = largest;
  });
  return adjusted;
}

/** log of n over k. */
function logBinomial(n: number, k: number): number {
  let sum = 0;
  for (let i = 1; i <= k; i++) sum += Math.log(n - k + i) - Math.log(i);
  return sum;
}
