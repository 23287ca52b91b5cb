/** The conditions of a run, and names that say no more than what tells them apart. */
import { Columns } from './columns.ts';
import { commands, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface RunCondition {
  condition: string;
  model: string;
  precision: string;
  kernels: string;
  strategy: string;
  /** Rows of left padding of the cached arm. */
  padding: number;
  /** `keyed`, or `independent`: each arm draws random numbers of its own. */
  coupling: string;
}

/** Conditions in the order of the run. */
export async function readConditions(run: RunTables): Promise<RunCondition[] | Missing> {
  const found: RunCondition[] = [];
  for await (const batch of run.batches('conditions')) {
    const columns = new Columns('conditions', batch);
    const text = (['condition', 'model', 'precision', 'kernels', 'strategy', 'coupling'] as const).map(
      (name) => [name, columns.texts(name)] as const,
    );
    const padding = columns.required('padding');
    for (let row = 0; row < batch.numRows; row++) {
      const [condition, model, precision, kernels, strategy, coupling] = text.map(([, of]) => of(row));
      found.push({ condition, model, precision, kernels, strategy, coupling, padding: padding(row) });
    }
  }
  return found.length > 0 ? found : { missing: 'No conditions.arrow.', command: commands.steps };
}

/** The condition asked for, or the first. */
export function focusOf(conditions: readonly RunCondition[], asked?: string): RunCondition | Missing {
  const focus = asked === undefined ? conditions[0] : conditions.find(({ condition }) => condition === asked);
  return focus ?? { missing: `No condition ${asked ?? ''} in conditions.arrow.`, command: commands.steps };
}

/**
 * The conditions that stand beside one: those asked for, else all of a small run, else those of the same model and strategy.
 * The focus comes first, the others in the order of the run.
 */
export function beside(
  conditions: readonly RunCondition[],
  focus: RunCondition,
  { asked, most }: { asked?: readonly string[]; most: number },
): RunCondition[] {
  const others = conditions.filter(({ condition }) => condition !== focus.condition);
  const chosen = asked
    ? others.filter(({ condition }) => asked.includes(condition))
    : others.length < most
      ? others
      : others.filter(({ model, strategy }) => model === focus.model && strategy === focus.strategy);
  return [focus, ...chosen].slice(0, most);
}

/** What tells conditions apart, by condition: `fp16 · ort`, with the model and the strategy where they differ. */
export function shortNames(conditions: readonly RunCondition[]): Map<string, string> {
  const varies = (of: (condition: RunCondition) => string | number) => new Set(conditions.map(of)).size > 1;
  const [models, strategies] = [varies(({ model }) => model), varies(({ strategy }) => strategy)];
  return new Map(
    conditions.map((each) => {
      const parts = [
        ...(models ? [each.model] : []),
        ...[each.precision, each.kernels],
        ...(strategies ? [each.strategy] : []),
        ...(each.padding > 0 ? [`pad ${each.padding}`] : []),
        ...(each.coupling === 'independent' ? ['unkeyed'] : []),
      ];
      return [each.condition, parts.join(' · ')];
    }),
  );
}

/** What conditions share and short names leave out: `mini-llama, greedy`. */
export function sharedName(conditions: readonly RunCondition[]): string {
  const shared = (of: (condition: RunCondition) => string) => {
    const values = new Set(conditions.map(of));
    return values.size === 1 ? [...values] : [];
  };
  return [...shared(({ model }) => model), ...shared(({ strategy }) => strategy)].join(', ');
}
