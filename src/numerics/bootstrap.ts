/**
 * Percentile bootstrap (Efron 1979) by unit: whole prompts are drawn with replacement, and the statistic is computed from
 * each draw. Seeded: the same units give the same interval.
 */
import { quantile } from './quantile.ts';
import { RandomStream } from './random.ts';

/** An interval of a statistic. */
export interface Interval {
  low: number;
  high: number;
}

export interface BootstrapOptions {
  /** Default 2,000. */
  resamples?: number;
  /** Default 0. */
  seed?: number;
  /** Default 0.95. */
  level?: number;
}

/**
 * Interval of Σ top / Σ bottom over units, as for R: null below two units, or where no draw has a bottom.
 * @param units one pair of sums per unit
 */
export function bootstrapRatio(
  units: readonly { top: number; bottom: number }[],
  { resamples = 2000, seed = 0, level = 0.95 }: BootstrapOptions = {},
): Interval | null {
  const n = units.length;
  if (n < 2) return null;
  const stream = new RandomStream(seed, 'bootstrap');
  const values: number[] = [];
  for (let draw = 0; draw < resamples; draw++) {
    let top = 0;
    let bottom = 0;
    for (let i = 0; i < n; i++) {
      const unit = units[stream.integer(n)];
      top += unit.top;
      bottom += unit.bottom;
    }
    if (bottom > 0) values.push(top / bottom);
  }
  if (values.length === 0) return null;
  return { low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
}
