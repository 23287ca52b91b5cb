/**
 * The arms of one prompt up to one step, with every step of the cached arm checked against itself: the same rows, run by the
 * plain executor from the step's own inputs – its tokens, its positions, and the rows that earlier steps wrote. Both run the
 * same kernels, so that no rounding noise is left and the first hook where they part is a fault in the state between them.
 */
import { bitEqual } from '../../divergence/counterfactual.ts';
import { firstVisible } from '../../divergence/compare.ts';
import { type Hook, modelHooks } from '../../graph/hooks.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import {
  type Activation,
  type Activations,
  type Capture,
  captureNothing,
  type Executor,
  isCacheHook,
} from '../../model/executor.ts';
import type { Fault } from '../../model/faults.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { forward } from '../../model/plans.ts';

/** A prompt up to a step. */
export interface ReplayRequest {
  executor: Executor;
  /** Tokens both arms read: the prompt and at least `step` forced ones. */
  tokens: readonly number[];
  promptLength: number;
  /** The last step to run. */
  step: number;
  decodeRows: number;
  /** Planted in the cached arm. */
  faults: readonly Fault[];
  /** Steps whose captured tensors are kept, beside the last. */
  keep: readonly number[];
}

/** An arm at a step, with copies of what it read of the cache. */
export interface Snapshot extends ArmStep {
  cache: KVCache;
}

/** The first step of the cached arm that is not what its inputs give. */
export interface StateEvent {
  step: number;
  /** Tokens of the sequence, and the first row that ran. */
  n: number;
  start: number;
  /** The first hook that parts, in execution order. */
  hook: Hook;
  /** Every hook of the rows that ran, as the arm computed it and as its inputs give it (cache hooks: rows read, rows written). */
  found: Activations;
  expected: Activations;
}

export interface Replay {
  /** The cached arm at the last step. */
  cached: Snapshot;
  /** The cached arm at the steps that were asked for. */
  kept: Map<number, Snapshot>;
  /** Recomputation at the last step: all rows. */
  honest: Snapshot;
  /** Order-matched decoding with the same faults: two or more rows per step, under the uncached arm's kernel. */
  matched: Snapshot;
  event: StateEvent | null;
}

/** Hooks an explanation looks at: all but the opt-in ones. */
export function explainedHooks({ config }: Executor): Hook[] {
  return modelHooks(config).filter(({ definition }) => !definition.optIn);
}

/** Run the arms to the step. */
export async function replay(request: ReplayRequest): Promise<Replay> {
  const { executor, tokens, promptLength, step: last, decodeRows, faults } = request;
  const hooks = explainedHooks(executor);
  const capture: Capture = { hooks: new Set(hooks.map(({ name }) => name)) };
  const capacity = promptLength + last;
  const arm = Arm.cached(executor, capacity, decodeRows, faults);
  const matchedArm = Arm.cached(executor, capacity, Math.max(2, decodeRows), faults, 'prefill');
  const written = executor.newCache(capacity);
  const kept = new Map<number, Snapshot>();
  let event: StateEvent | null = null;
  let matched: ArmStep | undefined;
  for (let step = 0; step <= last; step++) {
    const sequence = tokens.slice(0, promptLength + step);
    const run = step === 0 ? arm.prefill(sequence, capture) : arm.step(sequence, capture);
    const found = await run;
    if (event === null && step > 0) event = await checkStep(executor, hooks, capture, step, sequence, found, written);
    copyRows(executor, arm.cache, written, found.start, found.n);
    if (step === last || request.keep.includes(step)) kept.set(step, snapshot(found, arm.cache));
    const capturing = step === last ? capture : captureNothing;
    matched = await (step === 0 ? matchedArm.prefill(sequence, capturing) : matchedArm.step(sequence, capturing));
  }
  const cached = kept.get(last);
  if (!cached || !matched) throw new Error(`replay: step ${last} did not run`);
  const honestArm = Arm.uncached(executor, capacity, 'recompute');
  const honest = await honestArm.prefill(tokens.slice(0, promptLength + last), capture);
  return {
    ...{ cached, kept, event },
    honest: { ...honest, cache: honestArm.cache },
    matched: { ...matched, cache: matchedArm.cache },
  };
}

/** Run a step again from the rows that were written; null if every hook has the same bits. */
async function checkStep(
  executor: Executor,
  hooks: readonly Hook[],
  capture: Capture,
  step: number,
  tokens: readonly number[],
  found: ArmStep,
  written: KVCache,
): Promise<StateEvent | null> {
  const { start, n } = found;
  const request = { tokens: tokens.slice(start), start, cache: written, kernel: 'decode' as const, capture };
  const { activations: expected } = await forward(executor, request);
  const { slidingWindows } = executor.config;
  const visible = (hook: Hook, activation: Activation) => {
    if (!isCacheHook(hook.name)) return activation.data;
    const { data, dims } = activation;
    return data.subarray(firstVisible(slidingWindows[hook.layer], start + 1) * (data.length / dims[1]));
  };
  const hook = hooks.find((each) => {
    const [a, b] = [found.activations.get(each.name), expected.get(each.name)];
    if (!a || !b) throw new Error(`replay: ${each.name} was not captured`);
    return !bitEqual(visible(each, a), visible(each, b));
  });
  if (!hook) return null;
  return { step, n, start, hook, found: copies(found.activations), expected: copies(expected) };
}

/** Copy rows [from, to) of every layer. */
function copyRows(executor: Executor, source: KVCache, target: KVCache, from: number, to: number): void {
  for (const layer of executor.blocks) {
    const { keys, values } = source.view(layer, to);
    const rows = (data: FloatArray) => data.subarray(from * source.rowSize);
    target.write(layer, from, rows(keys), rows(values));
  }
}

function snapshot(step: ArmStep, cache: KVCache): Snapshot {
  return { ...step, activations: copies(step.activations), cache };
}

/** Views of a cache change with later steps: copy them. */
function copies(activations: Activations): Activations {
  return new Map(
    [...activations].map(([name, activation]): [string, Activation] => [
      name,
      isCacheHook(name) ? { ...activation, data: activation.data.slice() } : activation,
    ]),
  );
}
