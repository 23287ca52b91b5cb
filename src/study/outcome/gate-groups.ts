/** Gates are measured per model, precision and kernels; all conditions of such a group stand or fall with them. */
import type { GateResult } from '../../divergence/summary.ts';
import type { Condition } from '../definition/condition.ts';

/** Key of a condition's group in `gatesByGroup`: `model/precision/kernels`. */
export function gateGroup({
  model,
  policy,
  kernels,
}: Record<'model' | 'policy' | 'kernels', { name: string }>): string {
  return `${model.name}/${policy.name}/${kernels.name}`;
}

export type GatesByGroup = ReadonlyMap<string, readonly GateResult[]>;

/** Identification gates that claims rest on: one that was not run guards nothing, so it counts as one that failed. */
const guarding = ['null', 'prefix', 'finite'] as const;

export interface GroupState {
  failed: string[];
  /** Of the gates that claims rest on. */
  notRun: string[];
  /** A harness gate failed: no numbers. */
  voided: boolean;
  /** What is not identifiable rests on one of these. */
  doubts: string[];
}

/** What a condition's gates allow. */
export function groupState(gatesByGroup: GatesByGroup, condition: Condition): GroupState {
  const gates = gatesByGroup.get(gateGroup(condition)) ?? [];
  const failed = gates.filter(({ passed }) => !passed);
  const notRun = guarding.filter((name) => gates.every((gate) => gate.name !== name));
  return {
    failed: failed.map(({ name }) => name),
    notRun,
    voided: failed.some((gate) => gate.class === 'harness'),
    doubts: [...failed.filter((gate) => gate.class === 'identification').map(({ name }) => name), ...notRun],
  };
}
