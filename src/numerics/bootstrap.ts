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
  options: BootstrapOptions = {},
): Interval | null {
  const tops = Float64Array.from(units, (unit) => unit.top);
  const bottoms = Float64Array.from(units, (unit) => unit.bottom);
  const ratio = (drawn: Uint32Array) => {
    let top = 0;
    let bottom = 0;
    for (const unit of drawn) {
      top += tops[unit];
      bottom += bottoms[unit];
    }
    return bottom > 0 ? top / bottom : null;
  };
  return bootstrap(units.length, ratio, options);
}

/**
 * Interval of any statistic of drawn units: null below two units, or where no draw has one.
 * @param statistic from the indices of the units drawn, `count` of them; null where it is not defined
 */
export function bootstrap(
  count: number,
  statistic: (drawn: Uint32Array) => number | null,
  { level = 0.95, ...options }: BootstrapOptions = {},
): Interval | null {
  if (count < 2) return null;
  const values: number[] = [];
  for (const drawn of draws(count, options)) {
    const value = statistic(drawn);
    if (value !== null) values.push(value);
  }
  if (values.length === 0) return null;
  const sorted = Array.from(Float64Array.from(values).sort());
  return { low: quantile(sorted, (1 - level) / 2), high: quantile(sorted, (1 + level) / 2) };
}

/** Draws of the last few sizes: a study takes hundreds of intervals of equally many prompts, and drawing costs more than summing. */
const kept = new Map<string, Uint32Array[]>();
const mostKept = 4;
/** Beyond this many numbers a set of draws is made anew each time. */
const mostNumbers = 16_000_000;

/**
 * The units of every draw, as indices below `count`; equal options give equal draws, so that statistics of the same
 * prompts are drawn together.
 */
export function* draws(
  count: number,
  { resamples = 2000, seed = 0 }: Omit<BootstrapOptions, 'level'> = {},
): Generator<Uint32Array> {
  const key = `${count}/${resamples}/${seed}`;
  const known = kept.get(key);
  if (known) {
    yield* known;
    return;
  }
  const stream = new RandomStream(seed, 'bootstrap');
  const made: Uint32Array[] = [];
  const keep = count * resamples <= mostNumbers;
  for (let draw = 0; draw < resamples; draw++) {
    const drawn = Uint32Array.from({ length: count }, () => stream.integer(count));
    if (keep) made.push(drawn);
    yield drawn;
  }
  if (!keep) return;
  if (kept.size >= mostKept) kept.delete([...kept.keys()][0]);
  kept.set(key, made);
}
