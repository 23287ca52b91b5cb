/** Exactness checks of patched runs: counts that add up over prompts and read like a gate. */
import { equalityRule, rowTolerance, Tally } from '../../divergence/gates/difference.ts';
import { count } from '../../divergence/gates/gate.ts';
import type { GateResult } from '../../divergence/summary.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';

/** `patch-self`: a cell that patches nothing is the cached arm. `patch-full`: one that replaces all is recomputation. */
export const checkNames = ['patch-self', 'patch-full'] as const;
export type CheckName = (typeof checkNames)[number];

/** Comparisons of one check, as plain data. */
export interface CheckCounts {
  steps: number;
  elements: number;
  differ: number;
  signedZero: number;
  /** Elements in rows that are not equal by the policy's rule (bits; a tolerance in float64). */
  failed: boolean;
  /** The first that failed, in words. */
  first: string | null;
}

export type Checks = Record<CheckName, CheckCounts>;

export function noChecks(): Checks {
  const none = (): CheckCounts => ({ steps: 0, elements: 0, differ: 0, signedZero: 0, failed: false, first: null });
  return { 'patch-self': none(), 'patch-full': none() };
}

/** What one step compared. @param where names prompt and step @param steps 0 if the step was counted already */
export function addCheck(
  counts: CheckCounts,
  policy: RoundingPolicy,
  where: string,
  compare: (tally: Tally) => void,
  steps = 1,
): void {
  const tally = new Tally(rowTolerance(policy));
  compare(tally);
  counts.steps += steps;
  counts.elements += tally.elements;
  counts.differ += tally.differ;
  counts.signedZero += tally.signedZero;
  counts.failed ||= !tally.equal;
  counts.first ??= tally.first && `${tally.first.hook}, ${where}`;
}

/** Counts of two parts of a run together. */
export function mergeChecks(a: Checks, b: Checks): Checks {
  const merge = (x: CheckCounts, y: CheckCounts): CheckCounts => ({
    steps: x.steps + y.steps,
    elements: x.elements + y.elements,
    differ: x.differ + y.differ,
    signedZero: x.signedZero + y.signedZero,
    failed: x.failed || y.failed,
    first: x.first ?? y.first,
  });
  return {
    'patch-self': merge(a['patch-self'], b['patch-self']),
    'patch-full': merge(a['patch-full'], b['patch-full']),
  };
}

/** The checks as records of controls.json. */
export function checkResults(checks: Checks, policy: RoundingPolicy): GateResult[] {
  return checkNames.map((name) => {
    const { steps, elements, differ, signedZero, failed, first } = checks[name];
    const zeros = signedZero > 0 ? `, ${count(signedZero)} signed zeros apart` : '';
    const where = first === null ? '' : `; first ${first}`;
    return {
      name,
      class: 'harness',
      passed: !failed,
      status: steps === 0 ? 'not-applicable' : failed ? 'failed' : 'passed',
      measured:
        steps === 0 ? 'no such cell was run' : `${count(differ)} of ${count(elements)} elements differ${zeros}${where}`,
      required: equalityRule(policy),
      scope: steps === 0 ? 'not measured' : `${scopes[name]}, ${count(steps)} ${steps === 1 ? 'step' : 'steps'}`,
    };
  });
}

const scopes: Record<CheckName, string> = {
  'patch-self': 'nothing replaced, through the patch path, against the cached arm: logits and new rows of K and V',
  'patch-full': 'history and kernel replaced against recomputation: logits and new rows of K and V',
};
