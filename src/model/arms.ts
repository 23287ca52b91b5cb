/**
 * The two arms. At step t the sequence has n tokens; row n − 1 decides the next one.
 *
 * - uncached: all n rows are run with no past.
 * - cached: the prompt is run once; then each step runs the newest rows alone, reading what earlier steps wrote.
 *
 * The cached arm can run as a row of a left-padded batch: the prompt's pass then begins with rows of padding, which later rows
 * do not see and positions do not count – the same mathematics in other shapes, with keys in other places of the sums.
 *
 * The uncached arm has an exact stand-in: decoding with two or more rows, which the null and prefix gates show to be
 * bit-identical to recomputation. It costs two rows per step instead of n. On tokens that are given it costs one row per step:
 * all its steps are rows of one forward (`ForwardRows`).
 */

import type { FloatArray } from './arrays.ts';
import type { Activations, Capture, Executor, Rows, StepKernel } from './executor.ts';
import { type Fault, PlantedFaults } from './faults.ts';
import { ForwardRows } from './forward-rows.ts';
import type { KVCache } from './kv-cache.ts';
import { forward } from './plans.ts';

/** What one arm computed at one step. */
export interface ArmStep {
  /** Number of tokens of the sequence; the newest position is n − 1. */
  n: number;
  /** First row this step ran, negative in left padding; rows start … n − 1 of the cache were written. */
  start: number;
  /** Logits of row n − 1: [d_vocab]; empty at a stage of a tape that is not the last. */
  logits: FloatArray;
  /** Row n − 1 after the last block that ran: [d_model]. */
  residual: FloatArray;
  /** Captured tensors of rows start … n − 1 (cache hooks: of rows 0 … n − 1). */
  activations: Activations;
}

/** What a step has for logits where the stage that runs is not the last. */
export const noLogits: FloatArray = new Float32Array(0);

/** Where a step begins: a block, and the residual stream that enters it. */
export interface ResumeAt {
  layer: number;
  /** blocks.{layer}.hook_resid_pre of the rows the step runs: [1, pos, d_model]. */
  residual: FloatArray;
}

/** How the uncached arm is computed. */
export type UncachedPlan = 'recompute' | 'stand-in';

/** Kernels of the prompt's pass and of the steps after it. */
interface ArmKernels {
  prefill: StepKernel;
  step: StepKernel;
}

/** What makes a cached arm another one than the preset's. */
export interface CachedArmOptions {
  /** Kernel of the steps after the prompt; default the preset's for decoding. */
  kernel?: StepKernel;
  /** Planted in this arm's state. */
  faults?: readonly Fault[];
  /** Rows of left padding; default 0. */
  padding?: number;
  /** The arm goes on in the middle of a prompt: the caller puts these rows into its cache, as the faults leave them. */
  after?: { promptLength: number; rows: number };
}

/** One arm of one prompt: a cache and a rule for which rows a step runs. */
export class Arm {
  readonly cache: KVCache;
  private readonly executor: Executor;
  private readonly kernels: ArmKernels;
  private readonly rows: number;
  private readonly faults: PlantedFaults | null;
  private promptLength = 0;
  /** Where the arm's steps are rows of one forward. */
  private given: ForwardRows | null = null;

  private constructor(
    executor: Executor,
    capacity: number,
    kernels: ArmKernels,
    rows: number,
    { faults = null, padding = 0 }: { faults?: PlantedFaults | null; padding?: number } = {},
  ) {
    this.executor = executor;
    this.cache = executor.newCache(capacity, padding);
    this.kernels = kernels;
    this.rows = rows;
    this.faults = faults;
  }

  /**
   * The cached arm: `decodeRows` rows are run at each step, overwriting the cache.
   */
  static cached(
    executor: Executor,
    capacity: number,
    decodeRows: number,
    { kernel = 'decode', faults = [], padding = 0, after = { promptLength: 0, rows: 0 } }: CachedArmOptions = {},
  ): Arm {
    const planted = faults.length === 0 ? null : new PlantedFaults(faults, executor, after.rows);
    const kernels = { prefill: 'prefill', step: kernel } as const;
    const arm = new Arm(executor, capacity, kernels, decodeRows, { faults: planted, padding });
    arm.promptLength = after.promptLength;
    return arm;
  }

  /** An arm that goes on after the first `length` tokens of this one, with a copy of their rows. */
  fork(capacity: number, length: number): Arm {
    const { executor, kernels, rows, faults, promptLength } = this;
    const own = { faults: faults?.fork(executor) ?? null, padding: this.cache.padding };
    const arm = new Arm(executor, capacity, kernels, rows, own);
    arm.cache.copyFrom(this.cache, length);
    arm.promptLength = promptLength;
    return arm;
  }

  /**
   * The uncached arm, recomputed in full or through its stand-in of `standInRows` ≥ 2 rows.
   * @param kernel of every pass
   */
  static uncached(
    executor: Executor,
    capacity: number,
    plan: UncachedPlan,
    standInRows = 2,
    kernel: StepKernel = 'prefill',
  ): Arm {
    const rows = plan === 'recompute' ? Number.POSITIVE_INFINITY : standInRows;
    return new Arm(executor, capacity, { prefill: kernel, step: kernel }, rows);
  }

  /**
   * The uncached arm on `tokens` alone, whose steps are rows of one forward; a step of one token is computed by itself. Every
   * step captures the hooks of the first one. Steps give as many rows as those of a stand-in of `rows` rows.
   */
  static ofForward(executor: Executor, tokens: readonly number[], rows = 2, kernel: StepKernel = 'prefill'): Arm {
    const arm = new Arm(executor, tokens.length, { prefill: kernel, step: kernel }, rows);
    arm.given = new ForwardRows(executor, tokens, arm.cache, kernel);
    return arm;
  }

  /** Run the whole prompt: step 0, with the preset's prefill kernel in both arms unless the arm has one of its own. */
  prefill(tokens: readonly number[], capture: Capture): Promise<ArmStep> {
    return this.run(tokens, -this.cache.padding, this.kernels.prefill, capture);
  }

  /**
   * Run the newest rows of `tokens`; all but the newest token have been run before. With `resume` the blocks before it are
   * not run: the caller has written their rows to the cache.
   */
  step(tokens: readonly number[], capture: Capture, resume?: ResumeAt): Promise<ArmStep> {
    return this.run(tokens, this.rowsOf(tokens.length).start, this.kernels.step, capture, resume);
  }

  /** Bring the rows that a step of n tokens reads into the state in which it reads them: faults of its history appear now. */
  prepare(n: number): void {
    this.faults?.beforeRead(this.cache, this.executor.blocks, this.rowsOf(n).start);
  }

  /** The rows a step of n tokens runs. */
  rowsOf(n: number): Rows {
    const start = Math.max(0, n - this.rows);
    return { start, count: n - start };
  }

  /** Tokens of the padding: any will do, since no row of the sequence sees them; the end token is what decoders pad with. */
  private padding(): number[] {
    return Array<number>(this.cache.padding).fill(this.executor.config.eosTokenIds[0] ?? 0);
  }

  private async run(
    tokens: readonly number[],
    start: number,
    kernel: StepKernel,
    capture: Capture,
    resume?: ResumeAt,
  ): Promise<ArmStep> {
    const n = tokens.length;
    if (start <= 0 && this.promptLength === 0) this.promptLength = n;
    if (this.given && n > 1) {
      if (resume) throw new Error('a step that is a row of a forward cannot resume');
      const { logits, ...rows } = await this.given.step(tokens, start, capture);
      return { n, start, logits: logits ?? noLogits, ...rows };
    }
    this.faults?.beforeRead(this.cache, this.executor.blocks, Math.max(0, start));
    const result = await forward(this.executor, {
      tokens: start < 0 ? [...this.padding(), ...tokens] : tokens.slice(start),
      start,
      cache: this.cache,
      kernel,
      capture,
      wrong: this.faults?.positionsAt(n - this.promptLength) ?? null,
      ...(resume === undefined ? {} : { startAtLayer: resume.layer, residual: resume.residual }),
    });
    const { vocabSize, hiddenSize } = this.executor.config;
    const newest = n - start - 1;
    return {
      n,
      start,
      logits: result.logits?.slice(newest * vocabSize) ?? noLogits,
      residual: result.residual.subarray(newest * hiddenSize),
      activations: result.activations,
    };
  }
}
