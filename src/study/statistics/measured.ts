/** Figures with their intervals, from per-prompt sums. */
import { type BootstrapOptions, bootstrapRatio, type Interval } from '../../numerics/bootstrap.ts';
import { rateInterval } from '../../numerics/rate-interval.ts';
import type { Estimate } from '../claims/claim.ts';
import type { Measured } from '../outcome/types.ts';

/** What one prompt adds to a ratio of sums. */
export interface RatioUnit {
  top: number;
  bottom: number;
}

/**
 * Draws for an interval whose ends are compared with a threshold: an end then varies with the seed by a seventieth of the
 * half-width (one standard error, where the draws are normal), and by a thirtieth with 2,000.
 */
export const verdictDraws = 10_000;

/**
 * Σ top / Σ bottom, bootstrapped by unit. Null where there is nothing to divide by, or where a sum is not finite: what is
 * not a number is counted elsewhere, never averaged.
 */
export function measuredRatio(units: readonly RatioUnit[], options: BootstrapOptions = {}): Measured | null {
  const bottom = units.reduce((total, unit) => total + unit.bottom, 0);
  const top = units.reduce((total, unit) => total + unit.top, 0);
  // Unit by unit: a number that a journal could not hold comes back as null, which adds up as 0.
  const finite = units.every((unit) => Number.isFinite(unit.top) && Number.isFinite(unit.bottom));
  if (!finite || !(bottom > 0) || !Number.isFinite(top / bottom)) return null;
  return withInterval(top / bottom, bootstrapRatio(units, options));
}

/** A value and its interval, if there is one whose ends are numbers. */
export function withInterval(value: number, interval: Interval | null): Measured {
  const known = interval !== null && Number.isFinite(interval.low) && Number.isFinite(interval.high);
  return known ? { value, lower: interval.low, upper: interval.high } : { value, lower: null, upper: null };
}

/**
 * A share of independent units: Wilson's interval; without one, the upper bound is the share of which 95 % of samples of
 * this size would show at least one: 1 − 0.05^(1/n). Of no units nothing is known: [0, 1].
 */
export function measuredShare(count: number, n: number): Estimate {
  if (n === 0) return { value: 0, lower: 0, upper: 1 };
  const { low, high } = rateInterval(count, n);
  return { value: count / n, lower: low, upper: count === 0 ? largestUnseen(n) : high };
}

/** Largest rate that n trials without an event leave possible at 95 %: 1 − 0.05^(1/n), about 3/n. */
export function largestUnseen(n: number): number {
  return -Math.expm1(Math.log(0.05) / n);
}

/** Seen through a monotone function; null where that is not a number. */
export function mapped(measured: Measured | null, map: (value: number) => number): Measured | null {
  if (measured === null || !Number.isFinite(map(measured.value))) return null;
  const { value, lower, upper } = measured;
  if (lower === null || upper === null) return { value: map(value), lower: null, upper: null };
  const ends = [map(lower), map(upper)];
  return withInterval(map(value), { low: Math.min(...ends), high: Math.max(...ends) });
}

/** What a rule can read: an estimate has both ends. */
export function estimateOf(measured: Measured | null): Estimate | null {
  if (measured === null || measured.lower === null || measured.upper === null) return null;
  return { value: measured.value, lower: measured.lower, upper: measured.upper };
}
