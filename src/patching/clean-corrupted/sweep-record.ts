/** What a sweep says about how its cells were computed, as a record of controls.json. */
import { equalityRule } from '../../divergence/gates/difference.ts';
import { count } from '../../divergence/gates/gate.ts';
import type { GateResult } from '../../divergence/summary.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { SweepMethod } from '../sweep/sweep.ts';

const how = {
  batched: 'cells resume side by side where their patch begins',
  single: 'cells resume one by one where their patch begins',
  loop: 'every cell is a full pass',
};

/**
 * The record of a sweep; null for one that was interrupted before its sample was compared. A sweep that fell back to full passes
 * is exact all the same, so it passes and says why. An interrupted run that went on has the record of one that was not.
 */
export function sweepRecord(method: SweepMethod | null, policy: RoundingPolicy): GateResult {
  const base = { name: 'sweep', class: 'harness', passed: true, required: equalityRule(policy) } as const;
  if (method === null)
    return { ...base, status: 'not-applicable', measured: 'interrupted before the comparison', scope: 'not measured' };
  const { mode, reason, compared, cells, vacuous } = method;
  const changing = cells - vacuous;
  if (changing === 0)
    return { ...base, status: 'not-applicable', measured: 'no patch changes a bit', scope: 'not measured' };
  return {
    ...base,
    status: 'passed',
    measured: reason === null ? `0 of ${count(compared)} cells differ; ${how[mode]}` : `${how[mode]}: ${reason}`,
    scope: `${count(compared)} comparisons with full passes; ${count(changing)} of ${count(cells)} cells change something`,
  };
}
