/**
 * Sweeps: every cell is a patched run, and every value is what one full forward pass per cell would give.
 *
 * Cells whose patch changes no bit are the base run. The others resume from it (`resume`), which is fast, and exact only where
 * the runtime's kernels do not depend on how many rows run together. So a few cells are computed both ways before the sweep
 * and a seeded sample after it, and all logits that are read are compared. Where batches fail cells run one by one; where
 * those fail, or the sample does, every cell is a full pass. The result says which it was.
 */
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import { baseRun } from './base-run.ts';
import { type Cell, checkCell, type HookValue } from './cells.ts';
import { SweepRun } from './sweep-run.ts';
import { openSweepPool, type SweepMode } from './sweep-runner.ts';
import { tasksOf } from './sweep-tasks.ts';

/** How the cells of a sweep are run; none of these changes a value. */
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

/** The cells of a sweep, and what is evaluated of each. */
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

/** The values of a sweep. */
export interface SweepResult<T> {
  /** In the order of the cells. */
  values: T[];
  /** Elements that each cell's patch changes; 0: the base run exactly. */
  changed: number[];
  /** Logits [pos, d_vocab] of the base run. */
  baseLogits: FloatArray;
  method: SweepMethod;
}

/**
 * Run all cells. Sessions of patched graphs are closed at the end.
 * @throws InterruptedError when `signal` fires.
 */
export async function sweep<T>(request: SweepRequest<T>): Promise<SweepResult<T>> {
  const { executor, tokens, cells, clean, reads, workers = 1 } = request;
  const { tape, sharedHooks } = executor.options;
  if (tape || sharedHooks) throw new Error('sweep: needs an executor that runs all layers, with graphs of its own');
  for (const cell of cells) checkCell(cell, clean.get(cell.hook.name));
  const releasePatched = executor.holdPatched();
  try {
    const base = await baseRun(executor, tokens, new Set(cells.map(({ hook }) => hook.name)));
    const run = new SweepRun(request, base);
    const tasks = tasksOf(run.settle(), base, reads.length);
    request.onBase?.({ logits: base.logits, changed: run.changed });
    const pool = openSweepPool({ base, cells, clean, reads }, Math.min(workers, tasks.length));
    try {
      const rest = await run.probe(tasks, pool);
      await run.rest(rest, pool);
      await run.check(tasks.flat(), pool);
    } finally {
      await pool.close();
    }
    return run.result();
  } finally {
    await releasePatched();
  }
}
