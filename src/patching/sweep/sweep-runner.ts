/** Runs the cells of a sweep: in this thread, or in threads of their own. */
import { type CheckpointReference, referenceTo } from '../../checkpoint/expand-kv.ts';
import { openPool, type Pool, type Runner } from '../../divergence/worker-pool.ts';
import type { Hook } from '../../graph/hooks.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { Executor } from '../../model/executor.ts';
import { type BaseRun, honestLogits, readRows } from './base-run.ts';
import { type Cell, type CellIndex, changedRows, type HookValue } from './cells.ts';
import { resume } from './resume.ts';

/**
 * How cells are run. `batched`: resumed, side by side. `single`: resumed one by one. `loop`: a full forward pass per cell.
 */
export type SweepMode = 'batched' | 'single' | 'loop';

/** Cells, by their indices, that start at one row. */
export interface SweepTask {
  cells: readonly number[];
  mode: SweepMode;
}

/** What a sweep runs. */
export interface SweepWork {
  base: BaseRun;
  cells: readonly Cell[];
  clean: ReadonlyMap<string, HookValue>;
  reads: readonly number[];
}

/** The same as plain data, for a thread. */
export interface SentWork {
  checkpoint: CheckpointReference;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
  tokens: readonly number[];
  cells: readonly { hook: string; at: CellIndex }[];
  clean: ReadonlyMap<string, HookValue>;
  reads: readonly number[];
}

/** The logits that are read of each cell of a task, in its order. */
export type SweepRunner = Runner<SweepTask, FloatArray[]>;

/** A pool of `workers` threads; one, this thread, where others could not open the same executor. */
export function openSweepPool(work: SweepWork, workers: number): Pool<SweepTask, FloatArray[]> {
  const sent = workers > 1 ? sendable(work) : null;
  const open = async () => sweepRunner(work);
  const script = new URL('./sweep-worker.js', import.meta.url);
  return openPool({ config: sent, workers: sent === null ? 1 : workers, open, script });
}

/** Runs cells in this thread. */
export function sweepRunner({ base, cells, clean, reads }: SweepWork): SweepRunner {
  const hooks = [...new Map(cells.map(({ hook }): [string, Hook] => [hook.name, hook])).values()];
  const fullPass = async (cell: Cell) =>
    readRows(await honestLogits(base, cell, clean.get(cell.hook.name)!), reads, base.executor.config.vocabSize);
  return {
    run: async ({ cells: indices, mode }) => {
      if (mode === 'loop') {
        const found: FloatArray[] = [];
        for (const index of indices) found.push(await fullPass(cells[index]));
        return found;
      }
      const jobs = indices.map((index) => {
        const cell = cells[index];
        const { name } = cell.hook;
        const rows = changedRows(cell, clean.get(name)!, base.values.get(name)!);
        if (!rows) throw new Error(`${name}: a cell that changes nothing was run`);
        return { cell, rows };
      });
      return resume(base, jobs, { reads, clean, hooks, batched: mode === 'batched' });
    },
    close: async () => undefined,
    moved: (logits) =>
      [...new Set(logits.map(({ buffer }) => buffer))].filter((memory) => memory instanceof ArrayBuffer),
  };
}

/** Null for an executor that plain data does not describe. */
function sendable({ base, cells, clean, reads }: SweepWork): SentWork | null {
  const { executor, tokens } = base;
  const { checkpoint, policy, kernels, threads, tables } = executor.options;
  if (executor.constructor !== Executor || tables !== undefined) return null;
  return {
    checkpoint: referenceTo(checkpoint),
    ...{ policy, kernels, threads, tokens, clean, reads },
    cells: cells.map(({ hook, at }) => ({ hook: hook.name, at })),
  };
}
