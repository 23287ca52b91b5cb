/** Plans: ordered lists of executor steps. A forward pass over some rows is the plan everything else is made of. */
import { type HookStage, hookName, isCacheHook } from '../graph/hooks.ts';
import { typeAt } from '../graph/rounding.ts';
import type { FloatArray } from './arrays.ts';
import type { Activations, Capture, Executor, StepKernel } from './executor.ts';
import { type HookedFunction, inExecutionOrder, runStage } from './hook-functions.ts';
import type { KVCache } from './kv-cache.ts';
import type { WrongPositions } from './positions.ts';

/** Rows to run through the model. */
export interface ForwardRequest {
  /** Token ids of the rows; with `residual`, only their number counts. */
  tokens: readonly number[];
  /** Absolute position of the first row (negative in left padding); the rows before it are read from `cache`. */
  start: number;
  /** Read for history; the rows of this step are written to it. */
  cache: KVCache;
  kernel: StepKernel;
  capture: Capture;
  /** First block to run (default 0); its input is `residual`. */
  startAtLayer?: number;
  /** Block to stop before (default: run all and unembed). */
  stopAtLayer?: number;
  /** [1, pos, d_model]: input of block `startAtLayer`, instead of embedding `tokens`. */
  residual?: FloatArray;
  /** Functions on hooks; those of stages that do not run are not called. */
  functions?: readonly HookedFunction[];
  /** Positions that a planted fault changes. */
  wrong?: WrongPositions | null;
}

export interface ForwardResult {
  /** [pos, d_vocab]; null if the plan stopped before the unembedding. */
  logits: FloatArray | null;
  /** [1, pos, d_model] after the last block that ran. */
  residual: FloatArray;
  activations: Activations;
}

/**
 * Run rows start … start + tokens.length − 1 through the model, extending the cache; on an executor with a tape, through
 * the stage the tape is at.
 */
export function forward(executor: Executor, request: ForwardRequest): Promise<ForwardResult> {
  const { tape } = executor.options;
  return tape ? tape.replay(request, (part) => runStages(executor, part)) : runStages(executor, request);
}

async function runStages(executor: Executor, request: ForwardRequest): Promise<ForwardResult> {
  const { tokens, start, cache, kernel, capture } = request;
  const { layers } = executor.config;
  const first = request.startAtLayer ?? 0;
  const last = Math.min(request.stopAtLayer ?? layers, layers);
  const rows = { start, count: tokens.length, padding: cache.padding, wrong: request.wrong ?? null };
  const functions = inExecutionOrder(request.functions ?? [], executor.config);
  const functionsOf = (stage: HookStage, layer: number) =>
    functions.filter(({ hook }) => hook.definition.stage === stage && hook.layer === layer);
  const activations: Activations = new Map();
  const keep = (found: Activations) => {
    for (const [name, activation] of found) if (capture.hooks.has(name)) activations.set(name, activation);
  };

  let residual = request.residual;
  if (residual === undefined) {
    const embedded = await runStage(functionsOf('embed', -1), capture, async (own) => ({
      activations: await executor.embed(tokens, kernel, own),
    }));
    residual = embedded.activations.get('hook_embed')!.data;
    keep(embedded.activations);
  }
  for (let layer = first; layer < last; layer++) {
    const input = residual;
    const output = await runStage(functionsOf('block', layer), capture, async (own) => {
      const found = await executor.block(layer, input, rows, cache.history(layer, start), kernel, own);
      cache.write(layer, start, found.keys, found.values);
      addCacheViews(executor, found.activations, own, cache, layer, start + tokens.length);
      return found;
    });
    residual = output.residual;
    keep(output.activations);
  }
  if (request.stopAtLayer !== undefined && request.stopAtLayer <= layers)
    return { logits: null, residual, activations };
  const unembedInput = residual;
  const unembedded = await runStage(functionsOf('unembed', layers), capture, async (own) => ({
    activations: await executor.unembed(unembedInput, tokens.length, kernel, own),
  }));
  keep(unembedded.activations);
  return { logits: unembedded.activations.get('logits')!.data, residual, activations };
}

/** `hook_cache_k|v` are views of the cache, not outputs of the graph (unless a patched graph returned them). */
function addCacheViews(
  executor: Executor,
  activations: Activations,
  { hooks }: Capture,
  cache: KVCache,
  layer: number,
  length: number,
): void {
  const { kvHeads, headDim } = executor.config;
  const { keys, values } = cache.view(layer, length);
  for (const [kind, data] of [['attn.cache_k', keys] as const, ['attn.cache_v', values] as const]) {
    const name = hookName(kind, layer);
    if (!hooks.has(name) || !isCacheHook(name) || activations.has(name)) continue;
    activations.set(name, { data, dims: [1, length, kvHeads, headDim], dtype: typeAt(executor.policy, 'kv') });
  }
}
