/**
 * A clean/corrupted experiment as rows: what every cell of one or more grids does to the next-token logits after the
 * corrupted prompt, measured against the clean run's.
 *
 * Distance is the L2 norm of the difference of mean-centred logits at the last position; recovery is
 * 1 − D(patched, clean) / D(corrupted, clean), and `recovery_kl` the same with KL(clean ‖ ·), which is quadratic and not
 * comparable with it. A metric of one's choice is measured beside them. The rows have the columns of patches.arrow: the clean
 * run stands for the uncached arm and the corrupted one for the unpatched arm. Nothing is decoded, so that `history` is
 * `recomputed`, `kernel` is `prefill`, and step and horizon are 0: the token that the prefill decides.
 */
import ndarray from 'ndarray';
import { compareLogits } from '../../divergence/metrics/logits.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Model } from '../../model/model.ts';
import type { Row } from '../../store/schemas.ts';
import type { PatchInput } from './act-patch.ts';
import { type Cell, cellKey, type HookValue } from './cells.ts';
import { cutsEveryPath } from './cut-paths.ts';
import { cleanLogits, cleanValues, type PatchAxis, type PatchTarget, patchGrid } from './grid.ts';
import { type LogitMetric, logitDistance, recovery } from './metrics.ts';
import { type SweepMethod, type SweepOptions, sweep } from './sweep.ts';

/** What is kept of a cell: plain numbers, for a journal. */
export interface CellDistance {
  /** To the clean run's logits at the last position. */
  distance: number;
  /** KL(clean ‖ patched), nats. */
  kl: number;
  /** Logits whose bits differ from the clean run's. */
  differ: number;
  /** The largest logit's token. */
  token: number;
  /** The metric. */
  metric: number;
}

export interface CleanCorruptedSubject {
  model: Model;
  clean: PatchInput;
  corrupted: PatchInput;
  /** What is patched: one grid of cells each. */
  grids: readonly PatchTarget[];
  /** A metric that reads the last position, from the clean run's logits [1, pos, d_vocab]; default `logitDistance`. */
  metric?: (cleanLogits: Parameters<typeof logitDistance>[0]) => LogitMetric;
  /** Copied into every row. */
  condition: string;
  prompt: string;
  spec: string;
}

export interface CleanCorruptedOptions extends SweepOptions {
  /** Cells of an interrupted run, by key; `onCell` gives them. */
  finished?: ReadonlyMap<string, CellDistance>;
  /** Each new cell. One that comes a second time replaces the first. */
  onCell?: (cell: { key: string; value: CellDistance }) => void;
}

/** A pair of prompts of as many tokens each, and the grids to patch. */
export interface CleanCorruptedRequest extends CleanCorruptedSubject, CleanCorruptedOptions {}

/** A row of patches.arrow. */
export type CleanCorruptedRow = Row<'patches'>;

/** The clean and the corrupted run. */
export interface Baselines {
  /** Name of the metric, and its value in both runs. */
  metric: string;
  clean: number;
  corrupted: number;
  /** The corrupted run against the clean one. */
  base: CellDistance;
}

/** The measured cells of all grids of a pair of prompts. */
export interface CleanCorrupted extends Baselines {
  /** Grid by grid, in row-major order of its axes. */
  rows: CleanCorruptedRow[];
  /** Positions whose tokens differ. */
  differing: number[];
  method: SweepMethod;
}

/** Run the grids. @throws UsageError for prompts of unlike lengths; InterruptedError */
export async function runCleanCorrupted(request: CleanCorruptedRequest): Promise<CleanCorrupted> {
  const { model, clean, corrupted, grids, metric, condition, prompt, spec, ...options } = request;
  const subject = { model, clean, corrupted, grids, condition, prompt, spec };
  const run = await CleanCorruptedRun.open(metric === undefined ? subject : { ...subject, metric });
  const method = await run.sweep(options);
  return { ...run.baselines, rows: run.rows(), differing: run.differing, method };
}

/** An experiment whose clean run is done; the rows of finished cells can be had at any time. */
export class CleanCorruptedRun {
  readonly cells: readonly Cell[];
  /** Axes of each grid, with labels; its cells lie along them in row-major order. */
  readonly grids: readonly { kind: string; axes: { name: PatchAxis; labels: string[] }[] }[];
  /** Positions whose tokens differ. */
  readonly differing: number[];
  private readonly subject: CleanCorruptedSubject;
  private readonly tokens: readonly number[];
  private readonly values: ReadonlyMap<string, HookValue>;
  private readonly target: FloatArray;
  private readonly metric: LogitMetric;
  private readonly found = new Map<string, CellDistance>();
  private base: { logits: FloatArray; changed: readonly number[] } | null = null;

  private constructor(
    subject: CleanCorruptedSubject,
    prompts: { clean: readonly number[]; corrupted: readonly number[] },
    parts: readonly ReturnType<typeof patchGrid>[],
    clean: { values: ReadonlyMap<string, HookValue>; logits: FloatArray },
  ) {
    const { model, grids, metric = logitDistance } = subject;
    this.subject = subject;
    this.tokens = prompts.corrupted;
    this.differing = this.tokens.flatMap((token, i) => (token === prompts.clean[i] ? [] : [i]));
    this.cells = parts.flatMap(({ cells }) => cells);
    this.grids = parts.map(({ axes }, i) => ({ kind: grids[i].kind, axes }));
    this.values = clean.values;
    this.target = this.last(clean.logits);
    this.metric = metric(ndarray(clean.logits, [1, this.tokens.length, model.config.vocabSize]));
  }

  /** Run the clean prompt. @throws UsageError for prompts of unlike lengths, or a hook that the model does not have */
  static async open(subject: CleanCorruptedSubject): Promise<CleanCorruptedRun> {
    const { model, grids } = subject;
    const [clean, corrupted] = [subject.clean, subject.corrupted].map((input) =>
      typeof input === 'string' ? model.toTokens(input) : input,
    );
    const parts = grids.map((target) => patchGrid(model, target, corrupted));
    const names = parts.flatMap(({ cells }) => cells.map(({ hook }) => hook.name));
    const { cache } = await model.runWithCache(clean, { namesFilter: [...new Set(names), 'logits'] });
    const values = cleanValues(model, cache, grids, corrupted.length);
    const logits = cleanLogits(cache, corrupted.length);
    return new CleanCorruptedRun(subject, { clean, corrupted }, parts, { values, logits });
  }

  /** Run the cells. @throws InterruptedError */
  async sweep({ finished, onCell, ...options }: CleanCorruptedOptions = {}): Promise<SweepMethod> {
    const { executor } = this.subject.model;
    const keys = this.cells.map(cellKey);
    for (const [key, value] of finished ?? []) this.found.set(key, value);
    const { method } = await sweep<CellDistance>({
      ...options,
      ...{ executor, tokens: this.tokens, cells: this.cells, clean: this.values, reads: [this.tokens.length - 1] },
      evaluate: (logits) => this.evaluate(logits),
      ...(finished === undefined ? {} : { finished }),
      onBase: (base) => {
        this.base = base;
      },
      onCell: (index, value) => {
        this.found.set(keys[index], value);
        onCell?.({ key: keys[index], value });
      },
    });
    return method;
  }

  /** Known as soon as cells run. */
  get baselines(): Baselines {
    const base = this.evaluate(this.last(this.started().logits));
    return {
      ...{ metric: this.metric.name, clean: this.evaluate(this.target).metric, corrupted: base.metric },
      base,
    };
  }

  /** Rows of the cells that are finished, in their order. */
  rows(): CleanCorruptedRow[] {
    const { model, condition, prompt, spec } = this.subject;
    const { length } = this.tokens;
    const { changed } = this.started();
    const { base, ...metrics } = this.baselines;
    const clean = this.evaluate(this.target);
    const nothing = base.distance === 0;
    return this.cells.flatMap((cell, i): CleanCorruptedRow[] => {
      const value = this.found.get(cellKey(cell));
      if (value === undefined) return [];
      return [
        {
          ...{ condition, prompt, spec, step: 0, horizon: 0, position: length - 1 },
          ...{ history: 'recomputed', kernel: 'prefill' },
          ...place(cell, length),
          ...{ n_changed: changed[i], distance_base: base.distance, distance_patched: value.distance },
          ...{ kl_base: base.kl, kl_patched: value.kl },
          recovery: nothing ? null : 1 - value.distance / base.distance,
          recovery_kl: base.kl === 0 ? null : 1 - value.kl / base.kl,
          exact: value.differ === 0,
          vacuous: changed[i] === 0 || (nothing && value.distance === 0),
          harmful: nothing && value.distance > 0,
          by_construction: cutsEveryPath(cell, this.differing, length, model.config.layers),
          token_returns: value.token === clean.token ? 0 : null,
          token_follows: Number(value.token === clean.token),
          token_follows_base: Number(base.token === clean.token),
          ...{ metric: metrics.metric, metric_clean: metrics.clean, metric_corrupted: metrics.corrupted },
          ...{ metric_patched: value.metric, metric_recovery: recovery(value.metric, metrics) },
        },
      ];
    });
  }

  private started() {
    if (this.base === null) throw new Error('the corrupted prompt has not run yet');
    return this.base;
  }

  /** @param logits [d_vocab] of the last position */
  private evaluate(logits: FloatArray): CellDistance {
    const { l2Centred, kl, nDiffer, cached } = compareLogits(logits, this.target, this.subject.model.executor.compute);
    const metric = this.metric.evaluate(ndarray(logits, [1, 1, logits.length]));
    return { distance: l2Centred, kl, differ: nDiffer, token: cached.token, metric };
  }

  private last(logits: FloatArray): FloatArray {
    return logits.subarray(logits.length - this.subject.model.config.vocabSize);
  }
}

/** Where a cell lies, as the columns of patches.arrow say it. */
function place({ hook, at }: Cell, length: number) {
  const { kind } = hook.definition;
  const position = at.pos ?? at.query ?? at.cache;
  return {
    ...{ hook: hook.name, layer: hook.layer, first_layer: hook.layer, head: at.head ?? at.kv_head ?? null },
    component: kind === 'attn.k' ? 'k' : kind === 'attn.v' ? 'v' : 'value',
    pos_start: position ?? 0,
    pos_end: position === undefined ? length : position + 1,
    src_pos: at.key ?? null,
  };
}
