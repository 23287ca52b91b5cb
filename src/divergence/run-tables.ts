/** The Arrow tables of a divergence run, filled prompt by prompt. */
import { type Hook, hookDefinitions } from '../graph/hooks.ts';
import { strategyName } from '../model/sampling/index.ts';
import type { TableWriter } from '../store/arrow-writer.ts';
import type { TableName } from '../store/schemas.ts';
import type { DivergeOptions } from './diverge.ts';
import type { ActivationRecord, PromptResult, StepRecord } from './rows.ts';

const ragged: ReadonlySet<string> = new Set(['key', 'cache']);
const dtypes = ['f16', 'bf16', 'f32', 'f64'];
const protocols = ['teacher-forced', 'free-running'];

/** Writes steps, layers, prompts, conditions, vocab and activations. */
export class RunTables {
  readonly rows: Record<string, number> = {};
  private readonly options: DivergeOptions;
  private readonly identity: unknown;
  private readonly condition: string;
  private readonly hookNames: string[];
  private readonly steps: TableWriter<'steps'>;
  private readonly layers: TableWriter<'layers'>;

  constructor(options: DivergeOptions, identity: unknown, hooks: readonly Hook[]) {
    this.options = options;
    this.identity = identity;
    this.condition = conditionName(options);
    this.hookNames = hooks.map((hook) => hook.name);
    const keys = { condition: [this.condition], prompt: options.prompts.map(({ id }) => id), protocol: protocols };
    const kinds = hookDefinitions.map(({ kind }) => kind);
    this.steps = options.run.table('steps', identity, keys);
    this.layers = options.run.table('layers', identity, { ...keys, hook: this.hookNames, kind: kinds, dtype: dtypes });
  }

  /** Add the rows of one prompt. */
  add(result: PromptResult): void {
    const key = { condition: this.condition, prompt: result.prompt };
    for (const row of result.steps) this.steps.add({ ...key, ...stepColumns(row) });
    for (const row of result.layers) {
      const { step, position, layer, hook, kind, dtype, statistics } = row;
      this.layers.add({
        ...key,
        protocol: 'teacher-forced',
        step,
        position,
        layer,
        hook,
        kind,
        dtype,
        head: null,
        ...statistics,
        added_rel_l2: row.added,
        via_history_rel_l2: row.viaHistory,
        via_residual_rel_l2: row.viaResidual,
      });
    }
    for (const record of result.activations) this.addActivation(result.prompt, record);
    this.count('steps', result.steps.length);
    this.count('layers', result.layers.length);
  }

  /** Add the tables that do not depend on results. */
  finish(): void {
    this.writeConditions();
    this.writePrompts();
    this.writeVocabulary();
  }

  private addActivation(prompt: string, record: ActivationRecord): void {
    const { kind, dtype, axes } = record;
    const shape = record.shape.map((size, i) => (ragged.has(axes[i]) ? null : size));
    const dictionaries = {
      condition: [this.condition],
      prompt: this.options.prompts.map(({ id }) => id),
      hook: this.hookNames,
    };
    const options = () => ({ shape, axes, dtype, identity: this.identity, dictionaries });
    this.options.run.addActivation(kind, options, { ...record, condition: this.condition, prompt });
    this.rows[`activations/${kind}.arrow`] = (this.rows[`activations/${kind}.arrow`] ?? 0) + 1;
  }

  private writeConditions(): void {
    const { checkpoint, policy, kernels, strategy, decodeRows, threads, template, run } = this.options;
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
    const { prompts, run } = this.options;
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
    const { checkpoint, run } = this.options;
    const { tokenizer } = checkpoint;
    const table = run.table('vocab', this.identity, {});
    for (let id = 0; id < checkpoint.config.vocabSize; id++) {
      table.add({ id, string: tokenizer?.token(id) ?? null, bytes: tokenizer?.bytes(id) ?? null });
    }
    this.count('vocab', checkpoint.config.vocabSize);
  }

  private count(table: TableName, rows: number): void {
    this.rows[`${table}.arrow`] = (this.rows[`${table}.arrow`] ?? 0) + rows;
  }
}

/** The condition's name in a run of one: model, precision, kernels and strategy. */
export function conditionName({ checkpoint, policy, kernels, strategy }: DivergeOptions): string {
  return [checkpoint.name, policy.name, kernels.name, strategyName(strategy)].join('/');
}

function stepColumns(row: StepRecord) {
  const { logits } = row;
  return {
    protocol: row.protocol,
    step: row.step,
    position: row.position,
    token_cached: row.tokenCached,
    token_uncached: row.tokenUncached,
    flip: row.flip,
    tie_cached: logits.cached.tie,
    tie_uncached: logits.uncached.tie,
    diverged_before: row.divergedBefore,
    logits_n_differ: logits.nDiffer,
    logits_max_abs: logits.maxAbs,
    logits_rel_l2: logits.relL2,
    logits_l2_centred: logits.l2Centred,
    kl: logits.kl,
    js: logits.js,
    tv: logits.tv,
    tv_processed: row.tvProcessed,
    margin_cached: logits.cached.margin,
    margin_uncached: logits.uncached.margin,
    error_cached: row.errorCached,
    error_uncached: row.errorUncached,
    error_cosine: row.errorCosine,
  };
}
