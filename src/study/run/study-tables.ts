/** The Arrow tables that work units fill, one file each for the whole study. */
import { hookDefinitions, modelHooks } from '../../graph/hooks.ts';
import { resolveSpec } from '../../patching/specification/resolve.ts';
import type { Dictionaries, TableWriter } from '../../store/arrow-writer.ts';
import { rowOf } from '../../store/row-values.ts';
import type { RunDirectory } from '../../store/run-directory.ts';
import type { CrossedFactors } from '../definition/factors.ts';
import { studySpecs } from '../unit/patch-specs.ts';
import { type PromptUnit, type UnitTable, unitTables } from '../unit/unit.ts';
import { answerArms } from '../unit/unit-summary.ts';
import { configOf, type StudyIdentity } from './study-identity.ts';

/** Writes the rows of units, in the order in which they are added. */
export class StudyTables {
  /** Rows by file, for the manifest. */
  readonly rows: Record<string, number> = {};
  private readonly conditions: readonly string[];
  private readonly add: {
    [T in UnitTable]: (values: readonly unknown[], key: { condition: string; prompt: string }) => void;
  };

  /** @param prompts ids that rows may name */
  constructor(run: RunDirectory, identity: StudyIdentity, crossed: CrossedFactors, prompts: readonly string[]) {
    this.conditions = crossed.conditions.map(({ name }) => name);
    const dictionaries = dictionariesOf(identity, crossed, prompts);
    const open = <T extends UnitTable>(name: T) => {
      const table: TableWriter<T> = run.table(name, identity, dictionaries);
      this.rows[`${name}.arrow`] = 0;
      return (values: readonly unknown[], key: { condition: string; prompt: string }) =>
        table.add(rowOf(name, values, key));
    };
    this.add = {
      steps: open('steps'),
      candidates: open('candidates'),
      layers: open('layers'),
      patches: open('patches'),
      answers: open('answers'),
      temperatures: open('temperatures'),
      placebo: open('placebo'),
    };
  }

  /** Add the rows of one unit. */
  write({ summary, rows }: PromptUnit): void {
    const key = { condition: this.conditions[summary.condition], prompt: summary.prompt };
    for (const table of unitTables) {
      for (const values of rows[table]) this.add[table](values, key);
      this.rows[`${table}.arrow`] += rows[table].length;
    }
  }
}

/** The values that text columns of any of the tables can take. */
function dictionariesOf(identity: StudyIdentity, crossed: CrossedFactors, prompts: readonly string[]): Dictionaries {
  const configs = identity.factors.models.map(({ name }) => configOf(identity, name));
  const specs = studySpecs(identity.settings.patching);
  const patched = crossed.groups.flatMap(({ model, kernels }) =>
    specs.flatMap((spec) => resolveSpec(spec, configOf(identity, model), kernels).cells.map(({ label }) => label.hook)),
  );
  return {
    condition: crossed.conditions.map(({ name }) => name),
    prompt: prompts,
    protocol: ['teacher-forced', 'free-running'],
    hook: [...configs.flatMap((config) => modelHooks(config).map(({ name }) => name)), ...patched],
    kind: hookDefinitions.map(({ kind }) => kind),
    dtype: ['f16', 'bf16', 'f32', 'f64'],
    spec: specs.map(({ name }) => name),
    history: ['cached', 'recomputed'],
    kernel: ['decode', 'prefill'],
    component: ['k', 'v', 'both', 'value'],
    arm: [...answerArms],
    stop: ['end', 'stop-sequence', 'limit', 'context'],
  };
}
