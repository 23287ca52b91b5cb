/** A sweep on its way: what is known of its cells, how they are run, and what was compared. */
import { equalityRule, rowTolerance, Tally } from '../../divergence/gates/difference.ts';
import type { Pool } from '../../divergence/worker-pool.ts';
import { InterruptedError } from '../../errors.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { type BaseRun, honestLogits, readRows } from './base-run.ts';
import { cellKey, changedRows } from './cells.ts';
import type { SweepMethod, SweepRequest, SweepResult } from './sweep.ts';
import type { SweepMode, SweepTask } from './sweep-runner.ts';
import { type Pending, seeded, wanted } from './sweep-tasks.ts';

type SweepPool = Pool<SweepTask, FloatArray[]>;

/** Cells that are computed both ways after a sweep: at least so many, and one of each hook kind. */
const sampleSize = 3;

/** The state of one sweep. `settle`, then `probe`, `rest` and `check`. */
export class SweepRun<T> {
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

  /**
   * Find the fastest mode whose logits equal full passes on a few cells, which run beside those they will run beside.
   * @returns the tasks that are left.
   */
  async probe(tasks: readonly Pending[][], pool: SweepPool): Promise<Pending[][]> {
    if (this.mode === 'loop' || tasks.length === 0) return [...tasks];
    const { seed = 0 } = this.request;
    const all = tasks.flat();
    // The first cell runs the most rows, the last the fewest.
    const chosen = [...new Set([all[0], all[all.length - 1], ...seeded(all, seed, 'probe', 1)])];
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
      await this.run(mine, mode, pool, (task, logits) => {
        found.push(logits);
        task.forEach((job, i) => {
          const expected = honest.get(job);
          if (expected) this.compare(tally, job, logits[i], expected);
        });
      });
      if (!tally.equal) {
        this.reason ??= `${mode} cells are not full passes: ${tally.describe()}`;
        continue;
      }
      this.mode = mode;
      this.tally = tally;
      const others = all.filter((job) => !honest.has(job));
      this.sample = new Map(seeded(others, seed, 'sample', sampleSize).map((job) => [job, null]));
      mine.forEach((task, i) => {
        this.accept(task, found[i]);
      });
      return tasks.filter((task) => !mine.includes(task));
    }
    this.mode = 'loop';
    return [...tasks];
  }

  /** Run what is left, apart from tasks all of whose values are known and that no comparison needs. */
  async rest(tasks: readonly Pending[][], pool: SweepPool): Promise<void> {
    const needed = tasks.filter((task) => task.some((job) => !job.given || this.sample.has(job)));
    // Full passes are long enough to be handed out one by one.
    const parts = this.mode === 'loop' ? wanted(needed.flat()).map((job) => [job]) : needed;
    await this.run(parts, this.mode, pool, (part, logits) => this.accept(part, logits));
  }

  /** Run the sample in full; if a cell differs, run all of them so. */
  async check(jobs: readonly Pending[], pool: SweepPool): Promise<void> {
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
    await this.rest([jobs.map((job) => ({ ...job, given: false }))], pool);
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

  /** Run tasks and take their logits in order. @throws InterruptedError if the signal fired before the last */
  private async run(
    tasks: readonly Pending[][],
    mode: SweepMode,
    pool: SweepPool,
    take: (task: Pending[], logits: FloatArray[]) => void,
  ): Promise<void> {
    let taken = 0;
    const jobs = tasks.map((task) => ({ cells: task.map(({ index }) => index), mode }));
    await pool.runInOrder(jobs, (logits) => take(tasks[taken++], logits), this.request.signal);
    if (taken < tasks.length) throw new InterruptedError();
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
}
