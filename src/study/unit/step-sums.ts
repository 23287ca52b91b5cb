import type { PromptResult } from '../../divergence/rows.ts';
import type { UnitSummary } from './unit-summary.ts';
export function summarise(
  result: PromptResult,
): Pick<
  UnitSummary,
  | 'sums'
  | 'flips'
  | 'margins'
  | 'shifts'
  | 'divergedAt'
  | 'orderMatched'
  | 'temperatures'
  | 'layers'
  | 'uncached'
  | 'nonfinite'
> {
  const rows = result.steps.filter((r) => r.protocol === 'teacher-forced' && r.step > 0);
  const s = (f: (r: (typeof rows)[number]) => number | null) => rows.reduce((a, r) => a + (f(r) ?? 0), 0);
  const div = result.tokensCached.findIndex((t, i) => t !== result.tokensUncached[i]);
  return {
    sums: {
      steps: rows.length,
      differing: rows.filter((r) => r.logits.nDiffer > 0).length,
      ties: 0,
      l2Centred: s((r) => r.logits.l2Centred),
      kl: s((r) => r.logits.kl),
      js: s((r) => r.logits.js),
      tv: s((r) => r.logits.tv),
      tvProcessed: null,
      tvProcessedUpper: null,
      errorCached: s((r) => r.errorCached),
      errorUncached: s((r) => r.errorUncached),
      single: null,
      double: null,
    },
    flips: rows
      .filter((r) => r.flip)
      .map((r) => ({ step: r.step, margin: r.marginChoice, tie: false, boundary: r.boundary ?? false })),
    margins: rows.map((r) => r.logits.uncached.margin),
    shifts: rows.map(() => 0),
    divergedAt: div < 0 ? null : div,
    orderMatched: result.orderMatched && {
      steps: result.orderMatched.steps,
      differingElements: result.orderMatched.differingElements,
      distance: result.orderMatched.distance,
    },
    temperatures: result.temperatures,
    layers: null,
    uncached: { checked: result.spotChecks.steps, failed: result.spotChecks.failed, recomputed: result.recomputed },
    nonfinite: result.nonfinite,
  };
}
