/**
 * From units to a study's outcome: fed unit by unit in the order of conditions, it keeps sums per prompt and, of the condition
 * that is open, the margins of its steps.
 */
import type { Condition } from '../definition/condition.ts';
import type { UnitSummary } from '../unit/unit-summary.ts';
import { adjustPaired } from './accuracy.ts';
import { conditionResults } from './condition-outcome.ts';
import { type ConditionRecord, OpenCondition } from './condition-record.ts';
import { falsifications } from './falsification.ts';
import { type GatesByGroup, groupState } from './gate-groups.ts';
import { layerProfile } from './layer-profile.ts';
import { machineSentence } from './machine.ts';
import { settingName, settingOf } from './setting.ts';
import { StudyView } from './study-view.ts';
import type { ConditionOutcome, StudyOutcome } from './types.ts';
import { studyVerdicts, verdictTable } from './verdicts.ts';

export interface StudyOutcomesOptions {
  /** All conditions of the study; a unit names its own by place, and `index` rises. */
  conditions: readonly Condition[];
}

export class StudyOutcomes {
  private readonly options: StudyOutcomesOptions;
  private readonly records: ConditionRecord[] = [];
  private open: OpenCondition | null = null;

  constructor(options: StudyOutcomesOptions) {
    this.options = options;
  }

  /**
   * Add a unit. Conditions come in the order of the study, all units of one together; the order of its prompts does not matter.
   * @throws RangeError for another order, an unknown condition or a second unit of one prompt: bugs, never bad input
   */
  add(unit: UnitSummary): void {
    const condition = this.options.conditions.find(({ index }) => index === unit.condition);
    if (!condition)
      throw new RangeError(`study outcomes: a unit of condition ${unit.condition}, which the study lacks`);
    if (this.open?.condition.index !== condition.index) {
      this.close();
      const last = this.records.at(-1)?.condition.index ?? -1;
      if (condition.index <= last) {
        throw new RangeError(`study outcomes: a unit of condition ${condition.index} after those of condition ${last}`);
      }
      this.open = new OpenCondition(condition);
    }
    this.open.add(unit);
  }

  /**
   * The outcome of all units added.
   * @param gatesByGroup results of the gates by `gateGroup`. A gate that is missing guards nothing: verdicts that rest on it stay
   *   open.
   */
  finish(gatesByGroup: GatesByGroup): StudyOutcome {
    this.close();
    const records = this.withVoided(gatesByGroup);
    const view = new StudyView(records, gatesByGroup);
    const verdicts = studyVerdicts(view);
    return {
      conditions: this.withFamilies(records.map((record) => this.outcome(record, gatesByGroup))),
      falsification: falsifications(view),
      profiles: view.families().flatMap((family) => view.models(family).flatMap((model) => layerProfile(model) ?? [])),
      verdicts,
      table: verdictTable(verdicts),
      machine: machineSentence(records.map(({ condition }) => condition)),
    };
  }

  private close(): void {
    if (this.open) this.records.push(this.open.close());
    this.open = null;
  }

  /** A group whose harness failed may have been spared its units: it still counts as left out. */
  private withVoided(gatesByGroup: GatesByGroup): ConditionRecord[] {
    const { conditions } = this.options;
    const seen = new Set(this.records.map(({ condition }) => condition.index));
    const spared = conditions.filter(
      (condition) => !seen.has(condition.index) && groupState(gatesByGroup, condition).voided,
    );
    const empty = spared.map((condition) => new OpenCondition(condition).close());
    return [...this.records, ...empty].sort((a, b) => a.condition.index - b.condition.index);
  }

  private outcome(record: ConditionRecord, gatesByGroup: GatesByGroup): ConditionOutcome {
    const { index, name, model, strategyName } = record.condition;
    const { failed, notRun, voided } = groupState(gatesByGroup, record.condition);
    return {
      ...{ index, condition: name, model: model.name, family: model.family },
      ...{ ...settingOf(record.condition), strategy: strategyName },
      ...{ failedGates: failed, gatesNotRun: notRun },
      results: voided ? null : conditionResults(record),
    };
  }

  /** Holm's adjustment needs all conditions of the same setting. */
  private withFamilies(conditions: readonly ConditionOutcome[]): ConditionOutcome[] {
    return conditions.map((condition) => {
      const paired = condition.results?.accuracy.paired;
      if (!condition.results || !paired) return condition;
      const family = conditions.flatMap((other) =>
        settingName(other) === settingName(condition) ? (other.results?.accuracy.paired ?? []) : [],
      );
      const adjusted = adjustPaired(family)[family.indexOf(paired)];
      const accuracy = { ...condition.results.accuracy, paired: adjusted };
      return { ...condition, results: { ...condition.results, accuracy } };
    });
  }
}
