/** Compare the arms at one step: the newest position's row of every hook, and every visible row of the cache. */
import { type Hook, isCacheHook } from '../graph/hooks.ts';
import { newestRow } from '../model/activation-rows.ts';
import type { Arm, ArmStep } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import type { Activation } from '../model/executor.ts';
import type { StorageType } from '../numerics/types.ts';
import { accumulate, createComparison, finish, type RowStatistics } from './metrics/row-comparison.ts';

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

/** Compare the hooks that both steps captured. @param windows sliding window of each layer */
export function compareStep(
  hooks: readonly Hook[],
  cached: ArmStep,
  uncached: ArmStep,
  windows: readonly (number | null)[],
): HookComparison[] {
  return hooks.flatMap((hook) => {
    const left = cached.activations.get(hook.name);
    const right = uncached.activations.get(hook.name);
    if (!left || !right) return [];
    const comparison = createComparison();
    const rowLength = left.dims[left.dims.length - 1];
    const rows = (activation: Activation) => comparedRows(hook, activation, windows);
    accumulate(comparison, rows(left), rows(right), { dtype: left.dtype, rowLength });
    return [{ hook, dtype: left.dtype, statistics: finish(comparison) }];
  });
}

/** True if some element of these hooks differs; ends at the first. Arguments as of `compareStep`. */
export function stepDiffers(
  hooks: readonly Hook[],
  cached: ArmStep,
  uncached: ArmStep,
  windows: readonly (number | null)[],
): boolean {
  return hooks.some((hook) => {
    const left = comparedRows(hook, cached.activations.get(hook.name)!, windows);
    const right = comparedRows(hook, uncached.activations.get(hook.name)!, windows);
    for (let i = 0; i < left.length; i++) {
      if (left[i] !== right[i] && !(Number.isNaN(left[i]) && Number.isNaN(right[i]))) return true;
    }
    return false;
  });
}

/** The newest row of a hook, or all rows of the cache that the newest position sees. */
function comparedRows(hook: Hook, activation: Activation, windows: readonly (number | null)[]): FloatArray {
  if (!isCacheHook(hook.name)) return newestRow(hook, activation);
  const { data, dims } = activation;
  return data.subarray(firstVisible(windows[hook.layer], dims[1]) * (data.length / dims[1]));
}

/** The oldest row that the newest of n positions sees. */
export function firstVisible(window: number | null, n: number): number {
  return window === null ? 0 : Math.max(0, n - window);
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
