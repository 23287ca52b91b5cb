/**
 * Steps of the uncached arm as rows of one forward.
 *
 * Row i of a forward over many rows is the last row of a forward over i + 1 ≥ 2 rows: gate prefix. Where the tokens are given,
 * one forward over all of them therefore has every step of the uncached arm, at every hook: rows of what it captured, scores
 * and pattern up to the keys that were there, the cache up to the rows that were written.
 */
import { definitionOf, type HookDefinition, isCacheHook, modelHooks } from '../graph/hooks.ts';
import { computeType, type RoundingPolicy } from '../graph/rounding.ts';
import { rowElements } from './activation-rows.ts';
import type { Activation, Activations, Capture, Executor, StepKernel } from './executor.ts';
import type { KVCache } from './kv-cache.ts';
import { type ForwardResult, forward } from './plans.ts';

/** One forward over tokens that are given, made when the first step of it is asked for. */
export class ForwardRows {
  private readonly executor: Executor;
  private readonly tokens: readonly number[];
  private readonly cache: KVCache;
  private readonly kernel: StepKernel;
  private made: { capture: Capture; result: Promise<ForwardResult> } | null = null;

  /** @param cache gets the K/V rows of all tokens, as many as it must hold. */
  constructor(executor: Executor, tokens: readonly number[], cache: KVCache, kernel: StepKernel) {
    this.executor = executor;
    this.tokens = tokens;
    this.cache = cache;
    this.kernel = kernel;
  }

  /**
   * What a step that reads `sequence` and runs rows start … n − 1 computes; n ≥ 2, since a pass over one row sums in another
   * order. Every step captures the same hooks; values are views where they are contiguous.
   */
  async step(sequence: readonly number[], start: number, capture: Capture) {
    const n = sequence.length;
    if (n < 2 || n > this.tokens.length || sequence[n - 1] !== this.tokens[n - 1]) {
      throw new Error(`forward: step of ${n} tokens, expected 2 … ${this.tokens.length} of the tokens that were given`);
    }
    if (this.made && this.made.capture.hooks !== capture.hooks) {
      throw new Error('forward: a later step asks for other hooks, expected those of the first step');
    }
    if (capture.patches?.length) throw new Error('forward: rows of one forward cannot be patched step by step');
    const { executor, tokens, cache, kernel } = this;
    this.made ??= { capture, result: forward(executor, { tokens, start: 0, cache, kernel, capture }) };
    const { logits, residual, activations } = await this.made.result;
    const { vocabSize, hiddenSize } = executor.config;
    const rows: Activations = new Map();
    for (const [name, activation] of activations) rows.set(name, stepRows(name, activation, start, n));
    return {
      logits: logits?.subarray((n - 1) * vocabSize, n * vocabSize) ?? null,
      residual: residual.subarray((n - 1) * hiddenSize, n * hiddenSize),
      activations: rows,
    };
  }
}

/** Rows start … n − 1 of a captured tensor as a step of n tokens has them: keys 0 … n − 1, the cache's rows 0 … n − 1. */
export function stepRows(name: string, { data, dims, dtype }: Activation, start: number, n: number): Activation {
  const { axes } = known(name);
  const from = isCacheHook(name) ? 0 : start;
  if (!axes.includes('key')) {
    const size = data.length / dims[1];
    return {
      ...{ data: data.subarray(from * size, n * size), dtype },
      dims: dims.map((length, i) => (i === 1 ? n - from : length)),
    };
  }
  // [1, head, query, key]
  const [, heads, queries, keys] = dims;
  const count = n - start;
  const size = heads * count * n;
  const rows = data instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < count; row++) {
      const at = (head * queries + start + row) * keys;
      rows.set(data.subarray(at, at + n), (head * count + row) * n);
    }
  }
  return { data: rows, dims: [1, heads, count, n], dtype };
}

function known(name: string): HookDefinition {
  const definition = definitionOf(name);
  if (!definition) throw new Error(`${name} is no hook`);
  return definition;
}

/** Most bytes that the captured tensors of one forward may take; longer prompts go step by step, two rows at a time. */
export const mostForwardBytes = 512 * 2 ** 20;

/** Bytes that a forward over `rows` rows captures; on a tape, at the stage that captures most. The cache's rows are views. */
export function forwardBytes(
  { config, options }: Pick<Executor, 'config' | 'options'>,
  policy: RoundingPolicy,
  hooks: ReadonlySet<string>,
  rows: number,
): number {
  const size = computeType(policy) === 'f64' ? 8 : 4;
  const byStage = new Map<number, number>();
  for (const hook of modelHooks(config)) {
    if (!hooks.has(hook.name) || isCacheHook(hook.name)) continue;
    byStage.set(hook.layer, (byStage.get(hook.layer) ?? 0) + size * rows * rowElements(hook, config, rows));
  }
  const stages = [...byStage.values()];
  return options.tape ? Math.max(0, ...stages) : stages.reduce((sum, bytes) => sum + bytes, 0);
}
