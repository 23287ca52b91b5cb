/**
 * The arms of one prompt up to one step, and the steps of the cached arm checked against themselves: the same rows, run by the
 * plain executor from the step's own inputs – its tokens, its positions, and the rows that earlier steps wrote. Both run the
 * same kernels, so that no rounding noise is left and the first hook where they part is a fault in the state between them.
 */

import { firstVisible } from '../../divergence/compare.ts';
import { bitEqual } from '../../divergence/counterfactual.ts';
import { type Hook, isCacheHook, modelHooks } from '../../graph/hooks.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import {
  type Activation,
  type Activations,
  type Capture,
  captureNothing,
  type Executor,
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

/** The arms at the last step. */
export interface Replay {
  cached: Snapshot;
  /** The cached arm at an earlier step that was asked for, or at the last. */
  kept: Snapshot;
  /** Recomputation: all rows. */
  honest: Snapshot;
  /** Order-matched decoding with the same faults: two or more rows per step, under the uncached arm's kernel. */
  matched: Snapshot;
}

/** Hooks an explanation looks at: all but the opt-in ones. */
export function explainedHooks({ config }: Executor): Hook[] {
  return modelHooks(config).filter(({ definition }) => !definition.optIn);
}

function captureAll(executor: Executor): Capture {
  return { hooks: new Set(explainedHooks(executor).map(({ name }) => name)) };
}

/** The first step of the cached arm, up to the last that is asked for, that is not what its inputs give; or null. */
export async function findStateEvent(request: ReplayRequest): Promise<StateEvent | null> {
  const { executor, tokens, promptLength, step: last, decodeRows, faults } = request;
  const capture = captureAll(executor);
  const capacity = promptLength + last;
  const arm = Arm.cached(executor, capacity, decodeRows, { faults });
  const written = executor.newCache(capacity);
  for (let step = 0; step <= last; step++) {
    const sequence = tokens.slice(0, promptLength + step);
    const found = await (step === 0 ? arm.prefill(sequence, captureNothing) : arm.step(sequence, capture));
    const event = step === 0 ? null : await checkStep(executor, capture, step, sequence, found, written);
    if (event !== null) return event;
    copyRows(executor, arm.cache, written, found.start, found.n);
  }
  return null;
}

/** Run the arms to the step. @param keep an earlier step of the cached arm to keep as well */
export async function replay(request: ReplayRequest, keep: number): Promise<Replay> {
  const { executor, tokens, promptLength, step: last, decodeRows, faults } = request;
  const capture = captureAll(executor);
  const capacity = promptLength + last;
  const arms = {
    cached: Arm.cached(executor, capacity, decodeRows, { faults }),
    matched: Arm.cached(executor, capacity, Math.max(2, decodeRows), { faults, kernel: 'prefill' }),
    honest: Arm.uncached(executor, capacity, 'recompute'),
  };
  const run = async (arm: Arm, step: number, hooks: Capture) => {
    const sequence = tokens.slice(0, promptLength + step);
    return snapshot(await (step === 0 ? arm.prefill(sequence, hooks) : arm.step(sequence, hooks)), arm.cache);
  };
  let kept: Snapshot | undefined;
  for (let step = 0; step < last; step++) {
    const cached = await run(arms.cached, step, step === keep ? capture : captureNothing);
    if (step === keep) kept = cached;
    await run(arms.matched, step, captureNothing);
  }
  const cached = await run(arms.cached, last, capture);
  const matched = await run(arms.matched, last, capture);
  return { cached, matched, honest: await run(arms.honest, last, capture), kept: kept ?? cached };
}

/** Run a step again from the rows that were written; null if every hook has the same bits. */
async function checkStep(
  executor: Executor,
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
  const hook = explainedHooks(executor).find((each) => {
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
