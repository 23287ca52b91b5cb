/**
 * Sweeps: every cell is a patched run, and every value is what one full forward pass per cell would give.
 *
 * Cells whose patch changes no bit are the base run. The others resume from it (`resume`), which is fast, and exact only where
 * the runtime's kernels do not depend on how many rows run together. So a few cells are computed both ways before the sweep
 * and a seeded sample after it, and all logits that are read are compared. Where batches fail cells run one by one; where
 * those fail, or the sample does, every cell is a full pass. The result says which it was.
 */
import { createHash } from 'node:crypto';
import { equalityRule, rowTolerance, Tally } from '../../divergence/gates/difference.ts';
import { InterruptedError } from '../../errors.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import { type BaseRun, baseRun, honestLogits, readRows } from './base-run.ts';
import { type Cell, cellKey, changedRows, checkCell, type HookValue } from './cells.ts';
import { type Job, startRow } from './resume.ts';
import { openLanes, type SweepLane, type SweepMode } from './sweep-lanes.ts';

export interface SweepOptions {
  /** Worker threads; default 1. Results do not depend on it. Threads need the build; without it one thread runs. */
  workers?: number;
  /** How far down the ladder to start: `batched` (default), `single` or `loop`, the straightforward loop. */
  method?: SweepMode;
  /** Chooses the cells that are computed both ways. Default 0. */
  seed?: number;
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Stops between cells with an InterruptedError; cells that were reported are finished. */
  signal?: AbortSignal;
}

/** How the values of a sweep came about. */
export interface SweepMethod {
  mode: SweepMode;
  /** Why a faster mode was not used; null if it was not tried, or held. */
  reason: string | null;
  cells: number;
  /** Cells whose patch changes no bit: the base run exactly. */
  vacuous: number;
  /** Cells that resumed from the base run. */
  resumed: number;
  /** Cells that were full forward passes. */
  looped: number;
  /** Cells that were finished before. */
  given: number;
  /** Cells that were computed both ways and compared, before and after. */
  compared: number;
  /** What counts as equal. */
  equality: string;
}

export interface SweepRequest<T> extends SweepOptions {
  executor: Executor;
  /** The corrupted prompt: what cells patch. */
  tokens: readonly number[];
  cells: readonly Cell[];
  /** Values of the cells' hooks in the clean run, [1, …] of as many positions. */
  clean: ReadonlyMap<string, HookValue>;
  /** Positions whose logits `evaluate` reads, ascending. */
  reads: readonly number[];
  /** A cell's value from its logits [reads, d_vocab]. */
  evaluate: (logits: FloatArray) => T;
  /**
   * Values of cells that are finished, by `cellKey`. They are not run again, except beside those that are computed both
   * ways, which do not depend on what is finished.
   */
  finished?: ReadonlyMap<string, T>;
  /** Told, before cells run, the base run's logits [pos, d_vocab] and how many elements each cell's patch changes. */
  onBase?: (base: { logits: FloatArray; changed: readonly number[] }) => void;
  /** Told each new value as soon as it is known. If a cell comes twice (a sample failed), the later value is right. */
  onCell?: (index: number, value: T) => void;
}

export interface SweepResult<T> {
  /** In the order of the cells. */
  values: T[];
  /** Elements that each cell's patch changes; 0: the base run exactly. */
  changed: number[];
  /** Logits [pos, d_vocab] of the base run. */
  baseLogits: FloatArray;
  method: SweepMethod;
}

/** Cells that are computed both ways after a sweep: at least so many, and one of each hook kind. */
const sampleSize = 3;
/** A task holds rows of all its cells up to this number, and logits up to that one: what a lane takes at a time. */
const rowsPerTask = 4096;
const logitsPerTask = 2 ** 25;

/** Run all cells. @throws InterruptedError when `signal` fires. */
export async function sweep<T>(request: SweepRequest<T>): Promise<SweepResult<T>> {
  const { executor, tokens, cells, clean, reads, workers = 1 } = request;
  const { tape, sharedHooks } = executor.options;
  if (tape || sharedHooks) throw new Error('sweep: needs an executor that runs all layers, with graphs of its own');
  for (const cell of cells) checkCell(cell, clean.get(cell.hook.name));
  const base = await baseRun(executor, tokens, new Set(cells.map(({ hook }) => hook.name)));
  const run = new Sweep(request, base);
  const tasks = tasksOf(run.settle(), base, reads.length);
  request.onBase?.({ logits: base.logits, changed: run.changed });
  const lanes = openLanes({ base, cells, clean, reads }, Math.min(workers, tasks.length));
  try {
    const rest = await run.probe(tasks, lanes[0]);
    await run.all(
      rest.filter((task) => run.isWanted(task)),
      lanes,
    );
    await run.check(tasks.flat(), lanes);
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  return run.result();
}

/** A cell whose patch changes something, and its place in the request. */
interface Pending extends Job {
  index: number;
  /** Its value was known before. */
  given: boolean;
}

/** Cells that start at the same row, in parts, the longest runs first. */
function tasksOf(pending: readonly Pending[], { tokens, executor }: BaseRun, reads: number): Pending[][] {
  const { length } = tokens;
  const byStart = new Map<number, Pending[]>();
  for (const job of pending) {
    const start = startRow(job, length);
    const known = byStart.get(start);
    if (known) known.push(job);
    else byStart.set(start, [job]);
  }
  return [...byStart]
    .toSorted(([a], [b]) => a - b)
    .flatMap(([start, jobs]) => {
      const byLogits = logitsPerTask / (reads * executor.config.vocabSize);
      const size = Math.max(1, Math.floor(Math.min(rowsPerTask / (length - start), byLogits)));
      return Array.from({ length: Math.ceil(jobs.length / size) }, (_, i) => jobs.slice(i * size, (i + 1) * size));
    });
}

/** Cells without a value. */
function wanted(jobs: readonly Pending[]): Pending[] {
  return jobs.filter(({ given }) => !given);
}

class Sweep<T> {
  mode: SweepMode;
  private readonly request: SweepRequest<T>;
  private readonly base: BaseRun;
  readonly changed: number[];
  private readonly values: T[];
  private tally: Tally;
  /** Cells computed both ways. */
  private compared = 0;
  private reason: string | null = null;
  private ran = 0;
  private given = 0;
  private done = 0;
  /** Cells of the sample that is checked at the end, and their logits as the sweep found them. */
  private sample = new Map<Pending, FloatArray | null>();

  constructor(request: SweepRequest<T>, base: BaseRun) {
    this.request = request;
    this.base = base;
    this.mode = request.method ?? 'batched';
    this.values = new Array<T>(request.cells.length);
    this.changed = request.cells.map(() => 0);
    this.tally = this.newTally();
  }

  /** Take what is finished or changes nothing; returns the cells that change something. */
  settle(): Pending[] {
    const { cells, clean, finished, evaluate } = this.request;
    const baseRows = this.readRows(this.base.logits);
    const pending: Pending[] = [];
    cells.forEach((cell, index) => {
      const { name } = cell.hook;
      const rows = changedRows(cell, clean.get(name)!, this.base.values.get(name)!);
      this.changed[index] = rows?.elements ?? 0;
      const known = finished?.get(cellKey(cell));
      const given = known !== undefined;
      if (given) {
        this.values[index] = known;
        this.given += 1;
      } else if (rows === null) this.take(index, evaluate(baseRows));
      if (rows !== null) pending.push({ index, cell, rows, given });
    });
    this.ran = pending.filter(({ given }) => !given).length;
    this.advance(cells.length - this.ran);
    return pending;
  }

  /** True if a task has a cell without a value, or one that is compared at the end. */
  isWanted(task: readonly Pending[]): boolean {
    return task.some((job) => !job.given || this.sample.has(job));
  }

  /**
   * Find the fastest mode whose logits equal full passes on a few cells, which run beside those they will run beside.
   * @returns the tasks that are left.
   */
  async probe(tasks: readonly Pending[][], lane: SweepLane): Promise<Pending[][]> {
    if (this.mode === 'loop' || tasks.length === 0) return [...tasks];
    const all = tasks.flat();
    // The first cell runs the most rows, the last the fewest.
    const chosen = [...new Set([all[0], all[all.length - 1], ...this.seeded(all, 'probe', 1)])];
    const honest = new Map<Pending, FloatArray>();
    for (const job of chosen) {
      this.checkSignal();
      honest.set(job, await this.honest(job));
    }
    const mine = tasks.filter((task) => task.some((job) => honest.has(job)));
    const ladder: SweepMode[] = this.mode === 'batched' ? ['batched', 'single'] : ['single'];
    for (const mode of ladder) {
      const tally = this.newTally();
      const found: FloatArray[][] = [];
      for (const task of mine) {
        this.checkSignal();
        const logits = await lane.run(
          task.map(({ index }) => index),
          mode,
        );
        found.push(logits);
        task.forEach((job, i) => {
          const expected = honest.get(job);
          if (expected) this.compare(tally, job, logits[i], expected);
        });
      }
      if (!tally.equal) {
        this.reason ??= `${mode} cells are not full passes: ${tally.describe()}`;
        continue;
      }
      this.mode = mode;
      this.tally = tally;
      const others = all.filter((job) => !honest.has(job));
      this.sample = new Map(this.seeded(others, 'sample', sampleSize).map((job) => [job, null]));
      mine.forEach((task, i) => {
        this.accept(task, found[i]);
      });
      return tasks.filter((task) => !mine.includes(task));
    }
    this.mode = 'loop';
    return [...tasks];
  }

  /** Run tasks, one at a time in each lane. */
  async all(tasks: readonly Pending[][], lanes: readonly SweepLane[]): Promise<void> {
    // Full passes are long enough to be handed out one by one.
    const parts = this.mode === 'loop' ? wanted(tasks.flat()).map((job) => [job]) : tasks;
    let next = 0;
    let failed = false;
    const work = async (lane: SweepLane) => {
      while (next < parts.length && !failed) {
        this.checkSignal();
        const part = parts[next++];
        const logits = await lane.run(
          part.map(({ index }) => index),
          this.mode,
        );
        this.accept(part, logits);
        // Sessions run synchronously: let signals and progress through.
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const running = lanes.map((lane) =>
      work(lane).catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    );
    const ends = await Promise.allSettled(running);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  /** Run the sample in full; if a cell differs, run all of them so. */
  async check(jobs: readonly Pending[], lanes: readonly SweepLane[]): Promise<void> {
    for (const [job, logits] of this.sample) {
      if (logits) this.compare(this.tally, job, logits, await this.honest(job));
    }
    if (this.tally.equal) return;
    this.reason = `${this.mode} cells are not full passes: ${this.tally.describe()}`;
    this.mode = 'loop';
    this.advance(-jobs.length);
    // What an earlier sitting found is no better: all of it again.
    this.given -= jobs.filter(({ given }) => given).length;
    this.ran = jobs.length;
    await this.all([jobs.map((job) => ({ ...job, given: false }))], lanes);
  }

  result(): SweepResult<T> {
    const isLoop = this.mode === 'loop';
    const method: SweepMethod = {
      ...{ mode: this.mode, reason: this.reason, cells: this.values.length, given: this.given },
      vacuous: this.changed.filter((elements) => elements === 0).length,
      ...{ resumed: isLoop ? 0 : this.ran, looped: isLoop ? this.ran : 0 },
      ...{ compared: this.compared, equality: equalityRule(this.base.executor.policy) },
    };
    return { values: this.values, changed: this.changed, baseLogits: this.base.logits, method };
  }

  private checkSignal(): void {
    if (this.request.signal?.aborted) throw new InterruptedError();
  }

  private accept(jobs: readonly Pending[], logits: readonly FloatArray[]): void {
    jobs.forEach((job, i) => {
      if (this.sample.has(job)) this.sample.set(job, logits[i]);
      if (!job.given) this.take(job.index, this.request.evaluate(logits[i]));
    });
    this.advance(wanted(jobs).length);
  }

  private take(index: number, value: T): void {
    this.values[index] = value;
    this.request.onCell?.(index, value);
  }

  private advance(cells: number): void {
    this.done += cells;
    this.request.onProgress?.({ done: this.done, total: this.values.length });
  }

  /** A full pass with the cell's patch; the logits that are read. */
  private async honest({ cell }: Pending): Promise<FloatArray> {
    return this.readRows(await honestLogits(this.base, cell, this.request.clean.get(cell.hook.name)!));
  }

  private readRows(logits: FloatArray): FloatArray {
    return readRows(logits, this.request.reads, this.base.executor.config.vocabSize);
  }

  private compare(tally: Tally, { cell }: Pending, found: FloatArray, expected: FloatArray): void {
    this.compared += 1;
    tally.add('logits', cellKey(cell), found, expected, this.base.executor.config.vocabSize);
  }

  private newTally(): Tally {
    return new Tally(rowTolerance(this.base.executor.policy));
  }

  /** At least `least` cells, one of each hook kind among them, that depend on nothing but the seed and what the cells are. */
  private seeded(jobs: readonly Pending[], purpose: string, least: number): Pending[] {
    const { seed = 0 } = this.request;
    const rank = ({ cell }: Pending) =>
      createHash('sha256')
        .update(`${seed} ${purpose} ${cellKey(cell)}`)
        .digest()
        .readUIntBE(0, 6);
    const ranked = jobs.map((job) => ({ job, rank: rank(job) })).toSorted((a, b) => a.rank - b.rank);
    const order = ranked.map(({ job }) => job);
    const kindOf = ({ cell }: Pending) => cell.hook.definition.kind;
    const firsts = order.filter((job, i) => order.findIndex((other) => kindOf(other) === kindOf(job)) === i);
    return [...new Set([...firsts, ...order])].slice(0, Math.max(least, firsts.length));
  }
}
