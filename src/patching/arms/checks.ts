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

/** Nothing was compared yet. */
export function noCounts(): CheckCounts {
  return { steps: 0, elements: 0, differ: 0, signedZero: 0, failed: false, first: null };
}

export function noChecks(): Checks {
  return { 'patch-self': noCounts(), 'patch-full': noCounts() };
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
export function mergeCounts(x: CheckCounts, y: CheckCounts): CheckCounts {
  return {
    steps: x.steps + y.steps,
    elements: x.elements + y.elements,
    differ: x.differ + y.differ,
    signedZero: x.signedZero + y.signedZero,
    failed: x.failed || y.failed,
    first: x.first ?? y.first,
  };
}

/** Checks of two parts of a run together. */
export function mergeChecks(a: Checks, b: Checks): Checks {
  return {
    'patch-self': mergeCounts(a['patch-self'], b['patch-self']),
    'patch-full': mergeCounts(a['patch-full'], b['patch-full']),
  };
}

/** The checks as records of controls.json. */
export function checkResults(checks: Checks, policy: RoundingPolicy): GateResult[] {
  return checkNames.map((name) => checkResult(name, checks[name], scopes[name], policy));
}

/** One check as a record of controls.json. @param what was compared with what */
export function checkResult(name: string, counts: CheckCounts, what: string, policy: RoundingPolicy): GateResult {
  const { steps, elements, differ, signedZero, failed, first } = counts;
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
    scope: steps === 0 ? 'not measured' : `${what}, ${count(steps)} ${steps === 1 ? 'step' : 'steps'}`,
  };
}

const scopes: Record<CheckName, string> = {
  'patch-self': 'nothing replaced, through the patch path, against the cached arm: logits and new rows of K and V',
  'patch-full': 'history and kernel replaced against recomputation: logits and new rows of K and V',
};
