/** Rates with their intervals, of texts and of steps. */
import { rateInterval } from '../../numerics/rate-interval.ts';
import { formatPercent } from './numbers.ts';

/** Rate and interval of texts that part: `25 % [14–40 %]`; `[0–9 %]` for none. */
export function textRate(count: number, n: number): string {
  if (n === 0) return '';
  const { low, high } = rateInterval(count, n);
  const range = `[${formatPercent(low, n)}–${formatPercent(high, n)} %]`;
  return count === 0 ? range : `${formatPercent(count / n, n)} % ${range}`;
}

/** Rate of flips per step; for none the rule of three, because `0 %` would claim too much. */
export function stepRate(count: number, n: number): string {
  if (n === 0) return '';
  return count === 0 ? `< ${formatPercent(Math.min(1, 3 / n), n)} % (3/n)` : textRate(count, n);
}
