/** What an attribution compares bit for bit before its numbers count: harness gates of the run, beside METHOD's. */
import type { GateResult } from '../../../divergence/summary.ts';
import type { RoundingPolicy } from '../../../graph/rounding.ts';
import { type CheckCounts, checkResult, mergeCounts, noCounts } from '../../arms/checks.ts';
import type { Measurement } from '../../specification/attribution-spec.ts';

/**
 * `no-class`: without a class on the decode kernel a step of one row is the uncached arm, v(∅) = 0. `all-places`: the policy
 * put together from its places drifts as the run does. `layer-replay`: a layer run by itself is the cached arm's.
 */
export const attributionCheckNames = ['no-class', 'all-places', 'layer-replay'] as const;
export type AttributionCheck = (typeof attributionCheckNames)[number];
export type AttributionChecks = Record<AttributionCheck, CheckCounts>;

/** Measurements that rest on a check, and what it compares. */
const guards: Record<AttributionCheck, { of: readonly Measurement[]; what: string }> = {
  'no-class': {
    of: ['classes', 'placebo', 'random-ulp'],
    what: 'logits of a step of one row with no class on the decode kernel, against the uncached arm',
  },
  'all-places': { of: ['places'], what: 'drift under the policy put together from its places, against the run' },
  'layer-replay': {
    of: ['amplification'],
    what: 'every layer run by itself on what the cached arm read, and the drift of the replayed arms, against the run',
  },
};

export function noAttributionChecks(): AttributionChecks {
  return { 'no-class': noCounts(), 'all-places': noCounts(), 'layer-replay': noCounts() };
}

export function mergeAttributionChecks(a: AttributionChecks, b: AttributionChecks): AttributionChecks {
  return {
    'no-class': mergeCounts(a['no-class'], b['no-class']),
    'all-places': mergeCounts(a['all-places'], b['all-places']),
    'layer-replay': mergeCounts(a['layer-replay'], b['layer-replay']),
  };
}

/** The checks of what was measured as records of controls.json. */
export function attributionCheckResults(
  checks: AttributionChecks,
  measured: readonly Measurement[],
  policy: RoundingPolicy,
): GateResult[] {
  return attributionCheckNames
    .filter((name) => guards[name].of.some((one) => measured.includes(one)))
    .map((name) => checkResult(name, checks[name], guards[name].what, policy));
}
