/** The values patches write: rows of an arm's trace, of another run's saved activations, or zeros. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import { type Hook, hasKind, hookName, isCacheHook } from '../../graph/hooks.ts';
import { typeAt } from '../../graph/rounding.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Activation, Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { rotateRow } from '../../model/positions.ts';
import { roundTo } from '../../numerics/half.ts';
import type { ArmTrace, Trajectory } from '../arms/trajectory.ts';
import type { Source, Target } from '../specification/resolve.ts';
import type { SavedRuns } from './saved-runs.ts';

/** Reads the sources of one prompt. */
export class SourceRows {
  private readonly executor: Executor;
  private readonly trajectory: Trajectory;
  private readonly saved: SavedRuns;

  constructor(executor: Executor, trajectory: Trajectory, saved: SavedRuns) {
    this.executor = executor;
    this.trajectory = trajectory;
    this.saved = saved;
  }

  /**
   * Rows of K and V as a cache, for positions below n − 1; of a run, only those of the target are filled in.
   * @param positions the rows that will be read
   */
  history({ source, cache, rotary }: Target, n: number, positions: readonly number[]): KVCache | number {
    if (source.kind === 'zero') return 0;
    // Rows of an arm before rotary, rotated as the graph does, are its rows after rotary.
    if (source.kind === 'arm') return this.arm(source.arm).history(n);
    const filled = this.executor.newCache(n);
    const { config, policy } = this.executor;
    const kv = (values: FloatArray) => values.map((value) => roundTo(typeAt(policy, 'kv'), value));
    for (const layer of cache?.layers ?? []) {
      for (const position of positions) {
        const row = (kind: string) => this.savedRow(source, hookName(kind, layer), kind, layer, position);
        const old = filled.view(layer, position + 1);
        const slot = (part: FloatArray) => part.subarray(position * filled.rowSize);
        if (cache?.component !== 'v') {
          const keys =
            rotary === 'before' ? rotateRow(row(beforeRotary(config)), position, this.executor) : row('attn.rot_k');
          slot(old.keys).set(kv(keys));
        }
        if (cache?.component !== 'k') slot(old.values).set(kv(row('attn.v')));
      }
    }
    return filled;
  }

  /** The newest rows of a hook at a step; null for zeros. */
  rows(source: Source, hook: Hook, step: number): Activation | null {
    if (source.kind === 'zero') return null;
    if (source.kind === 'arm') return this.traced(this.arm(source.arm), hook, step);
    // Shape and type are those of the arm; only the numbers come from elsewhere.
    const own = this.traced(this.trajectory.cached, hook, step);
    const n = this.trajectory.promptLength + step;
    const data = this.savedRow(source, hook.name, hook.definition.kind, hook.layer, n - 1);
    // Another run's numbers need not be of the type that this policy stores here.
    const stored = data.map((value) => roundTo(own.dtype, value));
    return { ...own, data: stored, dims: own.dims.map((size, axis) => (isRowAxis(hook, axis) ? 1 : size)) };
  }

  arm(name: 'cached' | 'uncached' | 'cached-rewrite'): ArmTrace {
    const arm = this.trajectory.arms.get(name);
    if (!arm) throw new Error(`the ${name} arm was not traced`);
    return arm;
  }

  private traced(arm: ArmTrace, hook: Hook, step: number): Activation {
    if (isCacheHook(hook.name)) return this.cacheRows(arm, hook, step);
    const found = arm.steps[step].rows.get(hook.name);
    if (!found) throw new Error(`${hook.name} was not kept`);
    return found;
  }

  /** What an arm's step read: rows 0 … n − 2 as they were, and the row it made. */
  private cacheRows(arm: ArmTrace, hook: Hook, step: number): Activation {
    const { kvHeads, headDim } = this.executor.config;
    const n = this.trajectory.promptLength + step;
    const part = hook.definition.kind === 'attn.cache_k' ? 'keys' : 'values';
    const data = arm.after(n).view(hook.layer, n)[part].slice();
    data.set(arm.history(n).view(hook.layer, n - 1)[part]);
    return { data, dims: [1, n, kvHeads, headDim], dtype: typeAt(this.executor.policy, 'kv') };
  }

  private savedRow(
    source: Extract<Source, { kind: 'run' }>,
    hook: string,
    kind: string,
    layer: number,
    position: number,
  ): FloatArray {
    const { prompt, tokens } = this.trajectory;
    return this.saved.row(source, { hook, kind, layer, prompt: prompt.id, position, token: tokens[position] });
  }
}

/** The hook right before the rotary embedding of K. */
export function beforeRotary(config: ModelConfig): string {
  return hasKind(config, 'attn.k_norm.out') ? 'attn.k_norm.out' : 'attn.k';
}

/** True for the axis along which a hook has one entry per position. */
export function isRowAxis({ definition }: Hook, axis: number): boolean {
  return ['pos', 'query', 'cache'].includes(definition.axes[axis]);
}
