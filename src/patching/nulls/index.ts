/** How far rounding alone drifts: the K-permuted placebo and the random-ulp null. */
export { type DistancesBySeed, type NullSummary, summariseNull } from './distances.ts';
export { changedClasses, type FlipRate, flipRates } from './flip-rates.ts';
export { type Placebo, type PlaceboOptions, permutedKernel, placebo } from './placebo.ts';
export { type RandomUlp, type RandomUlpOptions, randomUlp } from './random-ulp.ts';
