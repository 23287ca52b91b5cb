/** How far to trust a cumulative incidence: whole prompts are drawn again. */
import { draws } from '../../numerics/bootstrap.ts';
import { quantile } from '../../numerics/quantile.ts';
import type { Measured } from '../outcome/types.ts';
import { cumulativeIncidence, type Incidence, type Wait } from './incidence.ts';
import { largestUnseen, withInterval } from './measured.ts';

/** Share that has had the event up to and with a step. */
export function incidenceAt(curve: readonly Incidence[], step: number): number {
  return curve.findLast((entry) => entry.step <= step)?.event ?? 0;
}

/** First step at which at least half have had the event; Infinity where it is never reached. */
export function medianStep(curve: readonly Incidence[]): number {
  return curve.find(({ event }) => event >= 0.5)?.step ?? Infinity;
}

export interface IncidenceIntervals {
  at: { step: number; event: Measured }[];
  /** Null where half are never reached; an end that is not reached is null. */
  median: Measured | null;
}

/**
 * Cumulative incidence at the steps asked for, and its median, with 95 % percentile intervals by prompt. Before the first
 * event the upper bound is 1 − 0.05^(1/n), n the prompts.
 */
export function incidenceIntervals(waits: readonly Wait[], steps: readonly number[]): IncidenceIntervals {
  const curve = cumulativeIncidence(waits);
  const drawn = steps.map((): number[] => []);
  const medians: number[] = [];
  if (waits.length >= 2 && curve.length > 0) {
    for (const units of draws(waits.length)) {
      const again = cumulativeIncidence(Array.from(units, (unit) => waits[unit]));
      for (const [i, step] of steps.entries()) drawn[i].push(incidenceAt(again, step));
      medians.push(medianStep(again));
    }
  }
  const at = steps.map((step, i) => {
    const value = incidenceAt(curve, step);
    if (value === 0) return { step, event: { value, lower: 0, upper: largestUnseen(waits.length) } };
    const interval = { low: quantile(drawn[i], 0.025), high: quantile(drawn[i], 0.975) };
    return { step, event: withInterval(value, drawn[i].length > 0 ? interval : null) };
  });
  return { at, median: medianInterval(medianStep(curve), medians) };
}

/** Ends are steps that a draw had: Infinity, never reached, cannot be interpolated. */
function medianInterval(value: number, medians: readonly number[]): Measured | null {
  if (value === Infinity) return null;
  const sorted = medians.toSorted((a, b) => (a === b ? 0 : a - b));
  const reached = (step: number | undefined) => (step === undefined || step === Infinity ? null : step);
  const last = sorted.length - 1;
  return {
    value,
    lower: reached(sorted[Math.floor(0.025 * last)]),
    upper: reached(sorted[Math.ceil(0.975 * last)]),
  };
}
