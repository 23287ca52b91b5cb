/**
 * Patched runs that recompute only what the patch can reach. A patch in block l that first changes row p leaves the layers
 * before l and the rows before p as they were: the run starts from the base run's residual at block l, at row p, and reads
 * the base run's K/V rows before p. In block l itself a patch that no later row reads changes its own rows alone.
 *
 * Cells that start at the same row meet in the same layers with the same shapes, so they run side by side, as a batch that
 * grows from layer to layer. The last block is run in full for the rows whose logits are read; of the others it needs the
 * K/V rows alone. At least two rows always run: one row is another kernel. None of this is assumed to be exact: `sweep`
 * compares it with full passes first.
 */
import type { Hook } from '../../graph/hooks.ts';
import { allocate, type FloatArray } from '../../model/arrays.ts';
import { type Capture, captureNothing, type Patch } from '../../model/executor.ts';
import type { BaseRun } from './base-run.ts';
import {
  type Cell,
  type ChangedRows,
  type HookValue,
  idlePatch,
  needsGraph,
  patchOf,
  reachesLaterRows,
  replaceRows,
} from './cells.ts';
import { RunMemory } from './run-memory.ts';

/** A cell that changes something: what it needs to run. */
export interface Job {
  cell: Cell;
  rows: ChangedRows;
}

export interface ResumeOptions {
  /** Absolute positions whose logits are wanted, ascending. */
  reads: readonly number[];
  /** Values of the clean run by full hook name. */
  clean: ReadonlyMap<string, HookValue>;
  /** Hooks that the sweep's cells patch: one graph per block serves them all. */
  hooks: readonly Hook[];
  /** False runs every cell by itself. */
  batched: boolean;
}

const outputOnly: Capture = { ...captureNothing, outputOnly: true };

/** Rows that a batch holds at most: beyond, activations leave the processor's caches and a row costs more, not less. */
const rowsPerBatch = 192;
/** Runs that start at neighbouring rows start together: one row more each, half the passes. */
const rowsPerStart = 2;
/** Fewer rows than this are not worth a pass of their own through the last block. */
const fewRows = 4;

/** A patched run on its way: its residual rows start … at the input of the next block. */
interface Live {
  job: Job;
  residual: FloatArray;
}

/** The row a cell's run starts at. */
export function startRow({ rows }: Job, length: number): number {
  const first = Math.max(0, Math.min(rows.first, length - 2));
  return first - (first % rowsPerStart);
}

/**
 * Run cells that start at one row.
 * @returns per cell its logits [reads, d_vocab]; rows before the first changed one are the base run's.
 */
export async function resume(base: BaseRun, jobs: readonly Job[], options: ResumeOptions): Promise<FloatArray[]> {
  const { layers } = base.executor.config;
  const start = startRow(jobs[0], base.tokens.length);
  const walk = new Walk(base, start, options);
  // A patch after all rows that are read reaches none of them.
  if (walk.readRows.length === 0) return jobs.map(() => walk.logits());
  let live: Live[] = [];
  for (let layer = 0; layer <= layers; layer++) {
    live.push(...walk.replaced(layer, jobs));
    if (layer === layers) break;
    live = [...(await walk.block(layer, live)), ...(await walk.patched(layer, jobs))];
  }
  const logits = new Map<Job, FloatArray>();
  for (const batch of walk.batches(live, walk.readRows.length)) {
    const found = await walk.unembed(batch);
    batch.forEach(({ job }, i) => {
      logits.set(job, found[i]);
    });
  }
  return jobs.map((job) => logits.get(job)!);
}

/** What runs that start at the same row share. */
class Walk {
  /** Positions whose logits change: the last block's output is needed there. */
  readonly readRows: readonly number[];
  private readonly base: BaseRun;
  private readonly start: number;
  private readonly options: ResumeOptions;
  private readonly count: number;
  private readonly width: number;
  private readonly memory: RunMemory;
  /** First row of which the last block's output is needed. */
  private readonly outputStart: number;

  constructor(base: BaseRun, start: number, options: ResumeOptions) {
    this.base = base;
    this.start = start;
    this.options = options;
    this.count = base.tokens.length - start;
    this.width = base.executor.config.hiddenSize;
    this.memory = new RunMemory(base.executor.compute, base.cache, start);
    this.readRows = options.reads.filter((row) => row >= start);
    const first = Math.min(this.readRows[0] ?? start, base.tokens.length - 2);
    this.outputStart = first - start < fewRows ? start : first;
  }

  /** Runs whose rows fit into one pass, `rows` each. */
  batches<T>(runs: readonly T[], rows = this.count): T[][] {
    const most = this.options.batched ? Math.max(1, Math.floor(rowsPerBatch / Math.max(1, rows))) : 1;
    // Equal parts: a small remainder would cost nearly as much as a full one.
    const size = Math.ceil(runs.length / Math.ceil(runs.length / most));
    return Array.from({ length: Math.ceil(runs.length / most) }, (_, i) => runs.slice(i * size, (i + 1) * size));
  }

  /** Take runs through one block. */
  async block(layer: number, live: readonly Live[]): Promise<Live[]> {
    const { executor, residuals } = this.base;
    const { start, count, width, outputStart } = this;
    const isLast = layer === executor.config.layers - 1;
    const result: Live[] = [];
    for (const batch of this.batches(live)) {
      const input = this.memory.stack(batch.map(({ residual }) => residual));
      const history = this.memory.history(layer, batch.length);
      const rows = { start, count, batch: batch.length };
      if (!isLast || outputStart === start) {
        const { residual } = await executor.block(layer, input, rows, history, 'prefill', outputOnly);
        batch.forEach(({ job }, i) => {
          result.push({ job, residual: residual.subarray(i * count * width, (i + 1) * count * width) });
        });
        continue;
      }
      const output = await this.lastRows(layer, input, batch.length);
      const rest = count - (outputStart - start);
      batch.forEach(({ job }, i) => {
        // Rows that nobody reads keep the base's values.
        const residual = residuals[layer + 1].slice(start * width);
        residual.set(output.subarray(i * rest * width, (i + 1) * rest * width), (outputStart - start) * width);
        result.push({ job, residual });
      });
    }
    return result;
  }

  /** The last block's output for rows outputStart … alone: of the rows before, their K/V rows are needed. */
  private async lastRows(layer: number, input: FloatArray, batch: number): Promise<FloatArray> {
    const { executor } = this.base;
    const { start, count, width, outputStart } = this;
    const before = outputStart - start;
    const part = (from: number, to: number) =>
      this.memory.stack(
        Array.from({ length: batch }, (_, i) => input.subarray((i * count + from) * width, (i * count + to) * width)),
        'part',
      );
    const fresh = await executor.keysValues(layer, part(0, before), { start, count: before, batch }, 'prefill');
    const history = this.memory.history(layer, batch, fresh, before);
    const rows = { start: outputStart, count: count - before, batch };
    const output = await executor.block(layer, part(before, count), rows, history, 'prefill', outputOnly);
    return output.residual;
  }

  /** Runs that begin at a block's input: the base's residual stream with the patched rows in it, no pass needed. */
  replaced(layer: number, jobs: readonly Job[]): Live[] {
    const { start, width } = this;
    const mine = jobs.filter(({ cell: { hook } }) => {
      const at = hook.definition.kind === 'resid_pre' ? hook.layer : hook.layer + 1;
      return !needsGraph(hook) && at === layer;
    });
    return mine.map((job) => {
      const residual = this.base.residuals[layer].slice(start * width);
      replaceRows(residual, start, job.cell, this.options.clean.get(job.cell.hook.name)!, job.rows);
      return { job, residual };
    });
  }

  /** Runs that begin inside a block: a patched pass of the rows that the patch can change, the base's output elsewhere. */
  async patched(layer: number, jobs: readonly Job[]): Promise<Live[]> {
    const { length } = this.base.tokens;
    const groups = new Map<string, { end: number; jobs: Job[] }>();
    for (const job of jobs) {
      const { hook } = job.cell;
      if (!needsGraph(hook) || hook.layer !== layer) continue;
      const end = reachesLaterRows(hook) ? length : Math.min(length, Math.max(job.rows.last + 1, this.start + 2));
      const key = `${hook.name} ${end}`;
      const group = groups.get(key) ?? { end, jobs: [] };
      group.jobs.push(job);
      groups.set(key, group);
    }
    const result: Live[] = [];
    for (const { end, jobs: group } of groups.values()) {
      for (const batch of this.batches(group, end - this.start)) result.push(...(await this.patchedRows(batch, end)));
    }
    return result;
  }

  /** A pass of rows start … end − 1 of one block, with a patch on one hook per run. */
  private async patchedRows(jobs: readonly Job[], end: number): Promise<Live[]> {
    const { executor, residuals } = this.base;
    const { start, width } = this;
    const cells = jobs.map(({ cell }) => cell);
    const { hook } = cells[0];
    const { layer } = hook;
    const rows = { start, count: end - start, batch: jobs.length };
    const input = residuals[layer].subarray(start * width, end * width);
    const capture = {
      ...outputOnly,
      patches: [patchOf(cells, this.options.clean.get(hook.name)!, start, end), ...this.idle(hook)],
    };
    const history = this.memory.history(layer, jobs.length);
    const stacked = this.memory.stack(jobs.map(() => input));
    const { residual: output } = await executor.block(layer, stacked, rows, history, 'prefill', capture);
    const size = rows.count * width;
    return jobs.map((job, i) => {
      const residual = residuals[layer + 1].slice(start * width);
      residual.set(output.subarray(i * size, (i + 1) * size));
      return { job, residual };
    });
  }

  /** Patch points of the block's other patched hooks, doing nothing. */
  private idle({ layer, name }: Hook): Patch[] {
    const others = this.options.hooks.filter((hook) => hook.layer === layer && hook.name !== name && needsGraph(hook));
    return others.map((hook) => idlePatch(hook, this.base.executor.compute));
  }

  /** Final norm and logits of the rows that are read; the others are the base's. */
  async unembed(batch: readonly Live[]): Promise<FloatArray[]> {
    const { executor } = this.base;
    const { start, width, readRows } = this;
    const rows = batch.flatMap(({ residual }) =>
      readRows.map((row) => residual.subarray((row - start) * width, (row - start + 1) * width)),
    );
    // A single row would be another kernel: it runs twice.
    const input = this.memory.stack(rows.length === 1 ? [rows[0], rows[0]] : rows);
    const found = await executor.unembed(input, Math.max(2, rows.length), 'prefill', captureNothing);
    const { data } = found.get('logits')!;
    const size = readRows.length * executor.config.vocabSize;
    return batch.map((_, i) => this.logits(data.subarray(i * size, (i + 1) * size)));
  }

  /** Logits of all rows that are read: the base's, then `fresh` of the changed ones. */
  logits(fresh?: FloatArray): FloatArray {
    const { executor, logits } = this.base;
    const { vocabSize } = executor.config;
    const { reads } = this.options;
    const own = allocate(executor.compute, reads.length * vocabSize);
    const unchanged = reads.length - this.readRows.length;
    reads.slice(0, unchanged).forEach((row, at) => {
      own.set(logits.subarray(row * vocabSize, (row + 1) * vocabSize), at * vocabSize);
    });
    if (fresh) own.set(fresh, unchanged * vocabSize);
    return own;
  }
}
