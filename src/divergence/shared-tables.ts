/** The tables every run has, whatever it measured: conditions, prompts, vocab, and activations. */
import { typeAt } from '../graph/rounding.ts';
import { describeFault } from '../model/faults.ts';
import { strategyName } from '../model/sampling/index.ts';
import { join } from '../numerics/types.ts';
import type { TableName } from '../store/schemas.ts';
import type { ArmActivation } from './rows.ts';
import type { RunSubject } from './run-subject.ts';

/** Axes whose size changes from row to row. */
const ragged: ReadonlySet<string> = new Set(['key', 'cache']);

/** Writes the tables every run has. */
export class SharedTables {
  readonly rows: Record<string, number> = {};
  readonly condition: string;
  private readonly subject: RunSubject;
  private readonly identity: unknown;
  private readonly hookNames: readonly string[];

  constructor(subject: RunSubject, identity: unknown, hookNames: readonly string[]) {
    this.subject = subject;
    this.identity = identity;
    this.condition = conditionName(subject);
    this.hookNames = hookNames;
  }

  /** Add the tables that do not depend on results. */
  finish(): void {
    this.writeConditions();
    this.writePrompts();
    this.writeVocabulary();
  }

  /** Add one row of activations/KIND.arrow. */
  addActivation(prompt: string, record: ArmActivation): void {
    const { kind, axes } = record;
    // One file holds all layers: the first block's input may be of another type than the others'.
    const dtype = kind === 'resid_pre' ? join(record.dtype, typeAt(this.subject.policy, 'residual')) : record.dtype;
    const shape = record.shape.map((size, i) => (ragged.has(axes[i]) ? null : size));
    const options = () => {
      const prompts = this.subject.prompts.map(({ id }) => id);
      const dictionaries = { condition: [this.condition], prompt: prompts, hook: this.hookNames };
      return { shape, axes, dtype, identity: this.identity, dictionaries };
    };
    this.subject.run.addActivation(kind, options, { ...record, condition: this.condition, prompt });
    this.rows[`activations/${kind}.arrow`] = (this.rows[`activations/${kind}.arrow`] ?? 0) + 1;
  }

  private writeConditions(): void {
    const { checkpoint, policy, kernels, strategy, decodeRows, threads, template, run } = this.subject;
    const sampling = strategy.kind === 'sample' ? strategy : null;
    const row = {
      condition: this.condition,
      model: checkpoint.name,
      precision: policy.name,
      kernels: kernels.name,
      strategy: strategyName(strategy),
      temperature: sampling?.temperature ?? null,
      top_k: sampling?.topK ?? null,
      top_p: sampling?.topP ?? null,
      sampler: sampling?.sampler ?? null,
      seed: sampling?.seed ?? 0,
      decode_rows: decodeRows,
      threads,
      template,
    };
    const text = Object.entries(row).filter(([, value]) => typeof value === 'string');
    run
      .table('conditions', this.identity, Object.fromEntries(text.map(([name, value]) => [name, [String(value)]])))
      .add(row);
    this.count('conditions', 1);
  }

  private writePrompts(): void {
    const { prompts, run } = this.subject;
    const present = (values: (string | null)[]) => values.filter((value) => value !== null);
    const table = run.table('prompts', this.identity, {
      prompt: prompts.map(({ id }) => id),
      text: present(prompts.map(({ text }) => text)),
      gold: present(prompts.map(({ gold }) => gold)),
    });
    prompts.forEach(({ id, index, text, tokens, gold }) => {
      table.add({ prompt: id, index, text, tokens, gold });
    });
    this.count('prompts', prompts.length);
  }

  private writeVocabulary(): void {
    const { checkpoint, run } = this.subject;
    const { tokenizer } = checkpoint;
    const table = run.table('vocab', this.identity, {});
    for (let id = 0; id < checkpoint.config.vocabSize; id++) {
      table.add({ id, string: tokenizer?.token(id) ?? null, bytes: tokenizer?.bytes(id) ?? null });
    }
    this.count('vocab', checkpoint.config.vocabSize);
  }

  /** Count rows of a table, for the manifest. */
  count(table: TableName, rows: number): void {
    this.rows[`${table}.arrow`] = (this.rows[`${table}.arrow`] ?? 0) + rows;
  }
}

/** The condition's name in a run of one: model, precision, kernels and strategy. */
function conditionName({ checkpoint, policy, kernels, strategy, faults = [] }: RunSubject): string {
  const planted = faults.length === 0 ? [] : [`planted: ${faults.map(describeFault).join('; ')}`];
  return [checkpoint.name, policy.name, kernels.name, strategyName(strategy), ...planted].join('/');
}
