/** The tables every run has, whatever it measured: conditions, prompts, vocab, and activations. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { typeAt } from '../graph/rounding.ts';
import { describeFault } from '../model/faults.ts';
import { type Strategy, strategyName } from '../model/sampling/index.ts';
import { join } from '../numerics/types.ts';
import type { RunDirectory } from '../store/run-directory.ts';
import { type Column, type Row, type TableName, tables } from '../store/schemas.ts';
import type { Prompt } from '../study/prompts.ts';
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
    const { checkpoint, prompts, run } = this.subject;
    const model = checkpoint.name;
    this.count('conditions', writeConditions(run, this.identity, [this.conditionRow()]));
    this.count('prompts', writePrompts(run, this.identity, [{ model, prompts }]));
    this.count('vocab', writeVocabularies(run, this.identity, [checkpoint]));
  }

  private conditionRow(): Row<'conditions'> {
    const { checkpoint, policy, kernels, strategy, decodeRows, threads, template } = this.subject;
    return {
      condition: this.condition,
      ...{ model: checkpoint.name, precision: policy.name, kernels: kernels.name, strategy: strategyName(strategy) },
      ...samplingColumns(strategy),
      ...{ decode_rows: decodeRows, threads, template, coupling: 'keyed', padding: 0 },
    };
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

  /** Count rows of a table, for the manifest. */
  count(table: TableName, rows: number): void {
    this.rows[`${table}.arrow`] = (this.rows[`${table}.arrow`] ?? 0) + rows;
  }
}

/** What conditions.arrow says of a strategy's numbers. */
export function samplingColumns(
  strategy: Strategy,
): Pick<Row<'conditions'>, 'temperature' | 'top_k' | 'top_p' | 'sampler' | 'seed'> {
  const sampling = strategy.kind === 'sample' ? strategy : null;
  return {
    temperature: sampling?.temperature ?? null,
    top_k: sampling?.topK ?? null,
    top_p: sampling?.topP ?? null,
    sampler: sampling?.sampler ?? null,
    seed: sampling?.seed ?? 0,
  };
}

/** Write conditions.arrow. @returns its rows */
export function writeConditions(run: RunDirectory, identity: unknown, rows: readonly Row<'conditions'>[]): number {
  const texts = Object.entries<Column>(tables.conditions).filter(([, { type }]) => type === 'text');
  const values = (name: string) => rows.map((row) => Object.entries(row).find(([key]) => key === name)?.[1]);
  const dictionaries = texts.map(([name]) => [name, present(values(name)).map(String)]);
  const table = run.table('conditions', identity, Object.fromEntries(dictionaries));
  for (const row of rows) table.add(row);
  return rows.length;
}

/** Write prompts.arrow: each model's prompts, in their order. @returns its rows */
export function writePrompts(
  run: RunDirectory,
  identity: unknown,
  sets: readonly { model: string; prompts: readonly Prompt[] }[],
): number {
  const all = sets.flatMap(({ prompts }) => prompts);
  const table = run.table('prompts', identity, {
    prompt: all.map(({ id }) => id),
    text: present(all.map(({ text }) => text)),
    gold: present(all.map(({ gold }) => gold)),
    model: sets.map(({ model }) => model),
  });
  for (const { model, prompts } of sets) {
    for (const { id, index, text, tokens, gold } of prompts)
      table.add({ prompt: id, index, text, tokens, gold, model });
  }
  return all.length;
}

/** Write vocab.arrow: what the token ids of each model stand for. @returns its rows */
export function writeVocabularies(run: RunDirectory, identity: unknown, checkpoints: readonly Checkpoint[]): number {
  const table = run.table('vocab', identity, { model: checkpoints.map(({ name }) => name) });
  for (const { name, tokenizer, config } of checkpoints) {
    for (let id = 0; id < config.vocabSize; id++) {
      table.add({ id, string: tokenizer?.token(id) ?? null, bytes: tokenizer?.bytes(id) ?? null, model: name });
    }
  }
  return checkpoints.reduce((rows, { config }) => rows + config.vocabSize, 0);
}

function present<T>(values: readonly (T | null | undefined)[]): T[] {
  return values.filter((value) => value !== null && value !== undefined);
}

/** The condition's name in a run of one: model, precision, kernels and strategy. */
function conditionName({ checkpoint, policy, kernels, strategy, faults = [] }: RunSubject): string {
  const planted = faults.length === 0 ? [] : [`planted: ${faults.map(describeFault).join('; ')}`];
  return [checkpoint.name, policy.name, kernels.name, strategyName(strategy), ...planted].join('/');
}
