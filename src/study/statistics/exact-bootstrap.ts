/**
 * The bootstrap of a mean of whole numbers without drawing: the sum of n numbers drawn with replacement from n has a
 * distribution that can be written down. An interval that decides a verdict then hangs on no seed.
 */
import { bootstrapRatio, type Interval } from '../../numerics/bootstrap.ts';
import { evenly, sumOf } from '../../numerics/whole-sums.ts';
import { type RatioUnit, verdictDraws } from './measured.ts';

/** Rounding of probabilities that add up decides nothing. */
const rounding = 1e-12;

/**
 * Percentile interval of Σ of as many values drawn with replacement as there are: from the least x with P(Σ ≤ x) ≥ α to the
 * largest with P(Σ ≥ x) ≥ α, α = (1 − level) / 2. Null below two values.
 * @param values whole numbers
 * Source: Efron 1979; of the definitions of a quantile the inverse of the distribution function (type 1 of Hyndman and Fan 1996).
 */
export function exactBootstrapSum(values: readonly number[], level: number): Interval | null {
  if (values.length < 2) return null;
  const one = evenly(values);
  const { least, chance } = sumOf(values.map(() => one));
  const wanted = (1 - level) / 2 - rounding;
  const most = least + chance.length - 1;
  return { low: least + reaching(chance, wanted), high: most - reaching(chance.toReversed(), wanted) };
}

/** How many probabilities come before the one at which their sum reaches `wanted`. */
function reaching(chance: Float64Array, wanted: number): number {
  let sum = 0;
  return chance.findIndex((each) => {
    sum += each;
    return sum >= wanted;
  });
}

/** Interval of Σ top / Σ bottom, the tops whole: exact where all units have the same bottom, else resampled. */
export function wholeRatioInterval(units: readonly RatioUnit[], level: number): Interval | null {
  if (units.length === 0) return null;
  const [{ bottom }] = units;
  if (units.some((unit) => unit.bottom !== bottom)) return bootstrapRatio(units, { level, resamples: verdictDraws });
  const sum = exactBootstrapSum(
    units.map(({ top }) => top),
    level,
  );
  const total = units.length * bottom;
  return sum && { low: sum.low / total, high: sum.high / total };
}
