/**
 * Compare the arms at one step: the newest position's row of every hook, and every visible row of the cache.
 *
 * Cache rows that no later step will rewrite are compared once; their sums are kept, so that a step costs the rows it
 * changed and not the whole history.
 */
import type { Hook } from '../graph/hooks.ts';
import { newestRow } from '../model/activation-rows.ts';
import type { Arm, ArmStep } from '../model/arms.ts';
import { type Activation, isCacheHook } from '../model/executor.ts';
import type { StorageType } from '../numerics/types.ts';
import {
  accumulate,
  type Comparison,
  createComparison,
  finish,
  merge,
  type RowStatistics,
} from './metrics/row-comparison.ts';

/** One hook at one step. */
export interface HookComparison {
  hook: Hook;
  dtype: StorageType;
  statistics: RowStatistics;
}

/** One arm at one step, with its cache. */
export interface ArmAtStep {
  arm: Arm;
  step: ArmStep;
}

interface FrozenRows {
  rows: number;
  comparison: Comparison;
}

/** Compares two arms step by step; keeps the sums of cache rows that are final. */
export class StepComparer {
  private readonly frozen = new Map<string, FrozenRows>();

  /**
   * Compare the hooks that both steps captured.
   * @param rewritten rows that the next step may still rewrite, counted from the newest (Infinity: all of them)
   */
  compare(hooks: readonly Hook[], cached: ArmAtStep, uncached: ArmAtStep, rewritten: number): HookComparison[] {
    const results: HookComparison[] = [];
    for (const hook of hooks) {
      const left = cached.step.activations.get(hook.name);
      const right = uncached.step.activations.get(hook.name);
      if (!left || !right) continue;
      const statistics = isCacheHook(hook.name)
        ? this.compareCache(hook, left, right, rewritten)
        : this.compareNewest(hook, left, right);
      results.push({ hook, dtype: left.dtype, statistics });
    }
    return results;
  }

  private compareNewest(hook: Hook, left: Activation, right: Activation): RowStatistics {
    const comparison = createComparison();
    const rowLength = left.dims[left.dims.length - 1];
    accumulate(comparison, newestRow(hook, left), newestRow(hook, right), { dtype: left.dtype, rowLength });
    return finish(comparison);
  }

  private compareCache(hook: Hook, left: Activation, right: Activation, rewritten: number): RowStatistics {
    const { dtype } = left;
    const [, n, kvHeads, headDim] = left.dims;
    const rowSize = kvHeads * headDim;
    const frozen = this.frozen.get(hook.name) ?? { rows: 0, comparison: createComparison() };
    const add = (into: Comparison, from: number, to: number) =>
      accumulate(
        into,
        left.data.subarray(from * rowSize, to * rowSize),
        right.data.subarray(from * rowSize, to * rowSize),
        {
          dtype,
          rowLength: headDim,
        },
      );
    const final = Math.max(frozen.rows, n + 1 - rewritten);
    if (final > frozen.rows && final <= n) {
      add(frozen.comparison, frozen.rows, final);
      frozen.rows = final;
      this.frozen.set(hook.name, frozen);
    }
    const total = createComparison();
    merge(total, frozen.comparison);
    add(total, frozen.rows, n);
    return finish(total);
  }
}

/** The first head whose part of the newest row differs, or null for hooks without a head axis. */
export function firstDifferingHead(hook: Hook, left: Activation, right: Activation): number | null {
  const { axes } = hook.definition;
  const axis = axes.findIndex((name) => name === 'head' || name === 'kv_head');
  if (axis < 0) return null;
  const heads = left.dims[axis];
  const a = isCacheHook(hook.name) ? left.data : newestRow(hook, left);
  const b = isCacheHook(hook.name) ? right.data : newestRow(hook, right);
  // Cache rows are [pos, kv_head, d_head]; newest rows are [head, …], so the head repeats with this period.
  const inner = isCacheHook(hook.name) ? left.dims[3] : a.length / heads;
  for (let head = 0; head < heads; head++) {
    for (let block = head * inner; block < a.length; block += heads * inner) {
      for (let i = block; i < block + inner; i++) if (a[i] !== b[i]) return head;
    }
  }
  return null;
}
