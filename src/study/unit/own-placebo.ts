/** A first flip beside the placebo of its own prompt: what is known while the prompt's arms can still be run again. */
import { binUpper, type FlipSummary, type PlaceboSummary } from './unit-summary.ts';

/** The widest drift of a prompt's placebo, to the upper edge of its bin; null without one. */
export function largestDrift(placebo: PlaceboSummary | null): number | null {
  const last = placebo?.drift.at(-1);
  return last === undefined ? null : binUpper(last[0]);
}

/**
 * Whether a flip's margin is wider than every drift of its own placebo. One that the cut of top-k or top-p decided never is:
 * there is no lead to compare.
 */
export function leansFurther(flip: FlipSummary | undefined, largest: number | null): boolean {
  if (flip === undefined || flip.margin === null || flip.boundary || largest === null) return false;
  return flip.margin > largest;
}
