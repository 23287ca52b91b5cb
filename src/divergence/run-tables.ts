/** The Arrow tables of a divergence run, filled prompt by prompt. */
import { type Hook, hookDefinitions, modelHooks } from '../graph/hooks.ts';
import type { TableWriter } from '../store/arrow-writer.ts';
import type { UnitRow } from '../store/row-values.ts';
import type { CandidateRecord, LayerRecord, PromptResult, StepRecord } from './rows.ts';
import type { RunSubject } from './run-subject.ts';
import { SharedTables } from './shared-tables.ts';

const dtypes = ['f16', 'bf16', 'f32', 'f64'];
const protocols = ['teacher-forced', 'free-running'];

/** Writes steps, candidates and layers beside the tables every run has. */
export class RunTables extends SharedTables {
  private readonly steps: TableWriter<'steps'>;
  private readonly candidates: TableWriter<'candidates'>;
  private readonly layers: TableWriter<'layers'>;

  constructor(subject: RunSubject, identity: unknown, hooks: readonly Hook[]) {
    const names = hooks.map((hook) => hook.name);
    super(subject, identity, names);
    const keys = { condition: [this.condition], prompt: subject.prompts.map(({ id }) => id), protocol: protocols };
    const kinds = hookDefinitions.map(({ kind }) => kind);
    this.steps = subject.run.table('steps', identity, keys);
    this.candidates = subject.run.table('candidates', identity, { ...keys, arm: ['cached', 'uncached'] });
    this.layers = subject.run.table('layers', identity, {
      ...keys,
      hook: modelHooks(subject.checkpoint.config).map(({ name }) => name),
      kind: kinds,
      dtype: dtypes,
    });
    this.count('steps', 0);
    this.count('candidates', 0);
    this.count('layers', 0);
  }

  /** Add the rows of one prompt. */
  add(result: PromptResult): void {
    const key = { condition: this.condition, prompt: result.prompt };
    for (const row of result.steps) this.steps.add({ ...key, ...stepColumns(row) });
    for (const row of result.candidates) this.candidates.add({ ...key, ...candidateColumns(row) });
    for (const row of result.layers) this.layers.add({ ...key, ...layerColumns(row) });
    for (const record of result.activations) this.addActivation(result.prompt, record);
    this.count('steps', result.steps.length);
    this.count('candidates', result.candidates.length);
    this.count('layers', result.layers.length);
  }
}

/** A row of steps.arrow without condition and prompt. */
export function stepColumns(row: StepRecord): UnitRow<'steps'> {
  const { logits } = row;
  return {
    protocol: row.protocol,
    step: row.step,
    position: row.position,
    token_cached: row.tokenCached,
    token_uncached: row.tokenUncached,
    flip: row.flip,
    differs: row.differs,
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
    top_shift: logits.topShift,
    margin_choice: row.marginChoice,
    boundary: row.boundary,
    error_cached: row.errorCached,
    error_uncached: row.errorUncached,
    error_cosine: row.errorCosine,
    drift_fp32_cached: row.drift.single?.cached ?? null,
    drift_fp32_uncached: row.drift.single?.uncached ?? null,
    drift_fp64_cached: row.drift.double?.cached ?? null,
    drift_fp64_uncached: row.drift.double?.uncached ?? null,
  };
}

/** A row of candidates.arrow without condition and prompt. */
export function candidateColumns({ step, arm, token, tokens, probabilities }: CandidateRecord): UnitRow<'candidates'> {
  return { step, arm, token, tokens, probabilities };
}

/** A row of layers.arrow without condition and prompt. */
export function layerColumns(row: LayerRecord): UnitRow<'layers'> {
  const { step, position, layer, hook, kind, dtype, statistics } = row;
  return {
    protocol: 'teacher-forced',
    ...{ step, position, layer, hook, kind, dtype, head: null, ...statistics },
    added_rel_l2: row.added,
    via_history_rel_l2: row.viaHistory,
    via_residual_rel_l2: row.viaResidual,
  };
}
