/** The records of a study, as claims ask for them: by setting and model. */
import { isEmulated, type KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { Condition, Coupling } from '../definition/condition.ts';
import type { ConditionRecord } from './condition-record.ts';
import { type GatesByGroup, groupState } from './gate-groups.ts';
import type { PromptRecord } from './record.ts';
import { settingName, settingOf } from './setting.ts';

/** Conditions of one setting. */
export interface Family {
  policy: RoundingPolicy;
  kernels: KernelPreset;
  padding: number;
  coupling: Coupling;
  /** Of conditions whose numbers count, in the order of the study. */
  records: readonly ConditionRecord[];
  /** Conditions that a failed harness gate leaves without numbers. */
  voided: readonly Condition[];
}

/** One model within a family. */
export interface ModelRecords extends Family {
  model: Condition['model'];
  /** Identification gates that failed or were not run, in one of its conditions. */
  doubts: readonly string[];
}

export class StudyView {
  private readonly records: readonly ConditionRecord[];
  private readonly gates: GatesByGroup;

  constructor(records: readonly ConditionRecord[], gates: GatesByGroup) {
    this.records = records;
    this.gates = gates;
  }

  /** All families, in the order of the study. */
  families(): Family[] {
    const nameOf = ({ condition }: ConditionRecord) => settingName(settingOf(condition));
    const names = [...new Set(this.records.map(nameOf))];
    return names.map((name) => this.family(this.records.filter((record) => nameOf(record) === name)));
  }

  private family(records: readonly ConditionRecord[]): Family {
    const [{ condition }] = records;
    const voided = records.filter((record) => groupState(this.gates, record.condition).voided);
    return {
      ...{ policy: condition.policy, kernels: condition.kernels },
      ...{ padding: condition.padding, coupling: condition.coupling },
      records: records.filter((record) => !voided.includes(record)),
      voided: voided.map((record) => record.condition),
    };
  }

  /** The models of a family that have numbers, in the order of the study. */
  models({ records, ...family }: Family): ModelRecords[] {
    const names = [...new Set(records.map(({ condition }) => condition.model.name))];
    return names.map((name) => {
      const own = records.filter(({ condition }) => condition.model.name === name);
      const { model } = own[0].condition;
      const doubts = new Set(own.flatMap(({ condition }) => groupState(this.gates, condition).doubts));
      return { ...family, records: own, voided: [], model, doubts: [...doubts] };
    });
  }

  /** The same model in the same setting but for the policy; null where the study has none with numbers. */
  beside({ model, ...own }: ModelRecords, fits: (policy: RoundingPolicy) => boolean): ModelRecords | null {
    const family = this.families().find(
      (other) =>
        settingName({ ...settingOf(other), precision: '' }) === settingName({ ...settingOf(own), precision: '' }) &&
        fits(other.policy) &&
        this.has(other, model.name),
    );
    return (family && this.models(family).find((other) => other.model.name === model.name)) ?? null;
  }

  private has({ records }: Family, model: string): boolean {
    return records.some(({ condition }) => condition.model.name === model);
  }

  doubts(condition: Condition): string[] {
    return groupState(this.gates, condition).doubts;
  }
}

/**
 * What the numbers of some records cover: models, prompts, precision, kernels, and what was left out.
 * @param doubted precisions whose identification gates leave them out of a comparison
 */
export function scopeOf(
  family: Family,
  control: RoundingPolicy | null = null,
  doubted: readonly string[] = [],
): string {
  const { records, voided, policy, kernels, padding, coupling } = family;
  const models = [...new Set(records.map(({ condition }) => condition.model.name))];
  const prompts = new Set(records.flatMap((record) => record.prompts.map(({ prompt }) => prompt)));
  const planted = new Set(
    records.flatMap((record) => record.prompts.filter((prompt) => prompt.planted).map(({ prompt }) => prompt)),
  );
  const left = [...new Set(voided.map(({ model }) => model.name))];
  return [
    models.join(', ') || 'no model',
    `${prompts.size} ${prompts.size === 1 ? 'prompt' : 'prompts'}`,
    policy.name,
    `${kernels.name}${isEmulated(kernels) ? ' (emulated in the graph)' : ''}`,
    ...(padding > 0 ? [`cached arm padded by ${padding} on the left`] : []),
    ...(coupling === 'independent' ? ['random numbers of each arm its own'] : []),
    ...(control ? [`control ${control.name}`] : []),
    ...(doubted.length > 0 ? [`left out, a gate failed or was not run: ${doubted.join(', ')}`] : []),
    ...(planted.size > 0 ? [`faults planted in ${planted.size} of the prompts`] : []),
    ...(left.length > 0 ? [`left out, a harness gate failed: ${left.join(', ')}`] : []),
  ].join('; ');
}

/** Sums by prompt over records: what one prompt contributes under several strategies is one unit. */
export function byPrompt<Sums>(
  records: readonly ConditionRecord[],
  start: () => Sums,
  add: (sums: Sums, prompt: PromptRecord) => void,
): Map<string, Sums> {
  const found = new Map<string, Sums>();
  for (const record of records) {
    for (const prompt of record.prompts) {
      const sums = found.get(prompt.prompt) ?? start();
      add(sums, prompt);
      found.set(prompt.prompt, sums);
    }
  }
  // By id again: a prompt that only a later strategy has would come last.
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
