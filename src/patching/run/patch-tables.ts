/** The Arrow tables of a patch run, filled prompt by prompt. */
import type { RunSubject } from '../../divergence/run-subject.ts';
import { SharedTables } from '../../divergence/shared-tables.ts';
import type { TableWriter } from '../../store/arrow-writer.ts';
import type { UnitRow } from '../../store/row-values.ts';
import type { CellPlan, ResolvedSpec } from '../specification/resolve.ts';
import type { CellResult, PatchedPrompt } from './patched-prompt.ts';

/** Writes patches and attributions beside the tables every run has. */
export class PatchTables extends SharedTables {
  private readonly patches: TableWriter<'patches'>;
  private readonly attributions: TableWriter<'attributions'> | null;
  private readonly resolved: ResolvedSpec;
  private readonly promptLengths: ReadonlyMap<string, number>;

  constructor(subject: RunSubject, identity: unknown, resolved: ResolvedSpec) {
    super(subject, identity, []);
    this.resolved = resolved;
    this.promptLengths = new Map(subject.prompts.map(({ id, tokens }) => [id, tokens.length]));
    const { spec, cells } = resolved;
    const keys = { condition: [this.condition], prompt: subject.prompts.map(({ id }) => id), spec: [spec.name] };
    this.patches = subject.run.table('patches', identity, {
      ...keys,
      history: ['cached', 'recomputed'],
      kernel: ['decode', 'prefill'],
      hook: cells.map(({ label }) => label.hook),
      component: ['k', 'v', 'both', 'value'],
    });
    this.count('patches', 0);
    const attributes = spec.measure.attribution !== undefined;
    this.attributions = attributes
      ? subject.run.table('attributions', identity, { ...keys, part: partNames(subject) })
      : null;
    if (attributes) this.count('attributions', 0);
  }

  /** Add the rows of one prompt. */
  add(result: PatchedPrompt): void {
    for (const cell of result.cells) this.addCell(result.prompt, cell);
    const key = { condition: this.condition, prompt: result.prompt, spec: this.resolved.spec.name };
    for (const { step, base, recomputed, parts } of result.attributions) {
      for (const { part, differing, value, oneIn, standardError } of parts) {
        this.attributions?.add({
          ...{ ...key, step, part, n_differ: differing, shapley: value, one_in: oneIn, standard_error: standardError },
          ...{ distance_base: base, distance_recomputed: recomputed },
        });
      }
      this.count('attributions', parts.length);
    }
  }

  private addCell(prompt: string, result: CellResult): void {
    const { cells, spec } = this.resolved;
    const rows = patchRows(result, cells[result.cell], spec.name, this.promptLengths.get(prompt) ?? 0);
    for (const row of rows) this.patches.add({ ...row, condition: this.condition, prompt });
    this.count('patches', rows.length);
  }
}

/** Rows of patches.arrow of one cell at one step: one for each horizon. */
export function patchRows(
  result: CellResult,
  { history, kernel, label }: CellPlan,
  spec: string,
  promptLength: number,
): UnitRow<'patches'>[] {
  return result.outcomes.map(({ horizon, recovery: of }, i) => ({
    ...{ spec, step: result.step, horizon },
    position: promptLength + result.step + horizon - 1,
    ...{ history, kernel, hook: label.hook, layer: label.layer, first_layer: label.firstLayer, head: label.head },
    ...{ component: label.component, pos_start: result.posStart, pos_end: result.posEnd, src_pos: null },
    n_changed: result.changed,
    ...{ distance_base: of.base.l2, distance_patched: of.patched.l2, kl_base: of.base.kl, kl_patched: of.patched.kl },
    ...{ recovery: of.recovery, recovery_kl: of.recoveryKl },
    ...{ exact: of.exact, vacuous: of.vacuous, harmful: of.harmful, by_construction: result.byConstruction[i] },
    token_returns: result.tokens.first,
    token_follows: result.tokens.follows,
    token_follows_base: result.baseTokens.follows,
    ...{ metric: null, metric_clean: null, metric_corrupted: null, metric_patched: null, metric_recovery: null },
  }));
}

function partNames({ checkpoint }: RunSubject): string[] {
  const { layers, kvHeads } = checkpoint.config;
  const heads = Array.from(
    { length: layers * kvHeads },
    (_, i) => `blocks.${Math.floor(i / kvHeads)} head ${i % kvHeads}`,
  );
  return ['k', 'v', 'first', 'prompt', 'generated', ...heads];
}
