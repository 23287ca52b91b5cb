/** Where the cells of a sweep run: in this thread, or in threads of their own. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type CheckpointReference, referenceTo } from '../../checkpoint/expand-kv.ts';
import { RunError } from '../../errors.ts';
import { findHook, type Hook } from '../../graph/hooks.ts';
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

/** Runs cells, given by their indices, that start at one row: the logits that are read of each. */
export interface SweepLane {
  run(cells: readonly number[], mode: SweepMode): Promise<FloatArray[]>;
  close(): Promise<void>;
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

/** What a thread is asked, and what it answers. */
export interface SweepTask {
  cells: readonly number[];
  mode: SweepMode;
}
export type SweepReply = { logits: FloatArray[] } | { error: string };

/** As many lanes as asked for; one, in this thread, where a thread could not open the same executor. */
export function openLanes(work: SweepWork, workers: number): SweepLane[] {
  const file = workers > 1 ? workerFile() : null;
  const sent = file === null ? null : sendable(work);
  if (file === null || sent === null) return [ownLane(work)];
  return Array.from({ length: workers }, () => new ThreadLane(file, sent));
}

/** Runs cells in this thread. */
export function ownLane({ base, cells, clean, reads }: SweepWork): SweepLane {
  const hooks = [...new Map(cells.map(({ hook }): [string, Hook] => [hook.name, hook])).values()];
  const fullPass = async (cell: Cell) =>
    readRows(await honestLogits(base, cell, clean.get(cell.hook.name)!), reads, base.executor.config.vocabSize);
  return {
    run: async (indices, mode) => {
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
  };
}

/** The worker's script: beside this file in the build; sources are run by tools that threads do not inherit. */
function workerFile(): string | null {
  if (!import.meta.url.endsWith('.js')) return null;
  const file = fileURLToPath(new URL('./sweep-worker.js', import.meta.url));
  return existsSync(file) ? file : null;
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

/** The cells of sent work. */
export function receivedCells({ cells }: SentWork, { config }: Executor): Cell[] {
  return cells.map(({ hook, at }) => ({ hook: findHook(hook, config)!, at }));
}

/** Runs cells in a thread of its own, one task at a time. */
class ThreadLane implements SweepLane {
  private readonly worker: Worker;

  constructor(file: string, work: SentWork) {
    // The flags this process was started with are about its own script.
    this.worker = new Worker(file, { workerData: work, execArgv: [] });
  }

  run(cells: readonly number[], mode: SweepMode): Promise<FloatArray[]> {
    return new Promise((resolve, reject) => {
      const settle = (reply: SweepReply | Error) => {
        this.worker.off('message', settle);
        this.worker.off('error', settle);
        if (reply instanceof Error) reject(reply);
        else if ('error' in reply) reject(new RunError(`sweep: a worker failed: ${reply.error}`));
        else resolve(reply.logits);
      };
      this.worker.on('message', settle);
      this.worker.on('error', settle);
      const task: SweepTask = { cells, mode };
      this.worker.postMessage(task);
    });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}
