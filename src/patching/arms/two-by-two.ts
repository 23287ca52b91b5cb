/**
 * The 2×2 {history: cached, recomputed} × {kernel: decode, prefill} of one prompt, at steps and layer prefixes of one's
 * choice. Causal sentences about cache and kernel rest on its four cells. Two of them are known and are nevertheless
 * computed through the patch path and compared: (cached, decode) is the cached arm, (recomputed, prefill) recomputation.
 */

import { Arm } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type KernelRole } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { addCheck, type Checks, noChecks } from './checks.ts';
import { composeHistory, wholeHistory } from './history.ts';
import { BaseDistances, type Continuation, continueFrom, decodeFrom } from './horizons.ts';
import { type StepRequest, type StepRunner, withTwoRows } from './step.ts';
import type { Trajectory } from './trajectory.ts';

export type HistoryKind = 'cached' | 'recomputed';

/** What a 2×2 covers. */
export interface TwoByTwoOptions {
  trajectory: Trajectory;
  runner: StepRunner;
  /** Decode steps, from 1. */
  steps: readonly number[];
  /** 0 is the patched step; default 0, 1, 5 and 20. */
  horizons?: readonly number[];
  /** Numbers of layers, from the first, whose history is replaced; default all layers. */
  prefixes?: readonly number[];
  histories?: readonly HistoryKind[];
  kernels?: readonly KernelRole[];
  /** The caller has probed whether two rows may stand for all, and repeats the measurement if not. */
  probed?: boolean;
  signal?: AbortSignal;
}

/** One cell at one step. */
export interface TwoByTwoCell extends Continuation {
  history: HistoryKind;
  kernel: KernelRole;
  /** Layers 0 … layers − 1 read the recomputed history; 0 for the cached history. */
  layers: number;
  step: number;
  /** Elements of the history that the cell changed. */
  changed: number;
}

export interface TwoByTwo {
  cells: TwoByTwoCell[];
  checks: Checks;
}

export const defaultHorizons: readonly number[] = [0, 1, 5, 20];

/** Run the cells of one prompt. */
export async function twoByTwo(options: TwoByTwoOptions): Promise<TwoByTwo> {
  const { trajectory, runner, steps } = options;
  if (options.probed) return measure(options);
  const first = steps.find((step) => step >= 1 && step < trajectory.steps);
  const needsPrefill = (options.kernels ?? ['prefill']).includes('prefill');
  const probe =
    first === undefined || !needsPrefill
      ? null
      : requestOf(trajectory, first, 'prefill', trajectory.cached.history(trajectory.promptLength + first));
  return withTwoRows(runner, probe, () => measure(options));
}

async function measure(options: TwoByTwoOptions): Promise<TwoByTwo> {
  const { trajectory, signal, steps, kernels = ['decode', 'prefill'] } = options;
  const base = new BaseDistances(trajectory);
  const found: TwoByTwo = { cells: [], checks: noChecks() };
  for (const step of steps) {
    if (step < 1 || step >= trajectory.steps) continue;
    for (const kernel of kernels) {
      for (const prefix of prefixesOf(options)) {
        if (signal?.aborted) return found;
        const last = found.cells.at(-1);
        const sameRow = last?.step === step && last.kernel === kernel ? last : null;
        found.cells.push(await runCell(options, base, found.checks, { step, kernel, prefix }, sameRow));
      }
    }
  }
  return found;
}

/** Layers to replace, ascending: 0 is the cached history. */
function prefixesOf({ runner, prefixes, histories = ['cached', 'recomputed'] }: TwoByTwoOptions): number[] {
  const replaced = prefixes ?? [runner.executor.config.layers];
  const wanted = [...(histories.includes('cached') ? [0] : []), ...(histories.includes('recomputed') ? replaced : [])];
  return wanted.toSorted((a, b) => a - b);
}

async function runCell(
  options: TwoByTwoOptions,
  base: BaseDistances,
  checks: Checks,
  { step, kernel, prefix }: { step: number; kernel: KernelRole; prefix: number },
  smaller: TwoByTwoCell | null,
): Promise<TwoByTwoCell> {
  const { trajectory, runner, horizons = defaultHorizons } = options;
  const { layers } = runner.executor.config;
  const { history, changed } = historyWithPrefix(options, step, prefix);
  const kind: HistoryKind = prefix === 0 ? 'cached' : 'recomputed';
  // A prefix whose further layers hold equal rows is the same cell; the full one is run whatever it holds.
  if (smaller !== null && prefix < layers && smaller.changed === changed)
    return { ...smaller, history: kind, layers: prefix };
  const result = await runner.run(requestOf(trajectory, step, kernel, history, Math.max(0, ...horizons)));
  const made = { logits: result.logits, cache: result.arm.cache };
  if (kernel === 'decode' && prefix === 0) checkSelf(options, checks, step, made);
  if (kernel === 'prefill' && prefix === layers) await checkFull(options, checks, step, made);
  const next = decodeFrom(trajectory, result.arm);
  const continuation = await continueFrom(trajectory, base, result.logits, step, horizons, next);
  return { ...continuation, history: kind, kernel, layers: prefix, step, changed };
}

/** The cached arm's history with the first `prefix` layers recomputed. */
function historyWithPrefix({ trajectory, runner }: TwoByTwoOptions, step: number, prefix: number) {
  const n = trajectory.promptLength + step;
  const layers = Array.from({ length: prefix }, (_, layer) => layer);
  return composeHistory(runner.executor, {
    base: trajectory.cached.history(n),
    donor: trajectory.uncached.history(n),
    selection: wholeHistory(runner.executor, n, layers),
    n,
    capacity: n,
  });
}

/** A step of the trajectory on a history, with room to go on to `horizon`. */
export function requestOf(
  { tokens, promptLength, steps }: Trajectory,
  step: number,
  kernel: KernelRole,
  history: KVCache,
  horizon = 0,
): StepRequest {
  const n = promptLength + step;
  return { tokens: tokens.slice(0, n), history, kernel, capacity: promptLength + Math.min(step + horizon, steps - 1) };
}

/** (cached, decode) against the cached arm. */
function checkSelf({ trajectory, runner }: TwoByTwoOptions, checks: Checks, step: number, found: Made): void {
  const { cached, promptLength } = trajectory;
  const expected = { logits: cached.steps[step].logits, cache: cached.after(promptLength + step) };
  compareStep(runner, checks['patch-self'], trajectory, step, found, expected);
}

/** (recomputed, prefill) against the uncached arm; the first step also against a recomputation made for it alone. */
async function checkFull(
  { trajectory, runner, steps }: TwoByTwoOptions,
  checks: Checks,
  step: number,
  found: Made,
): Promise<void> {
  const { uncached, promptLength, tokens } = trajectory;
  const counts = checks['patch-full'];
  const n = promptLength + step;
  const expected = { logits: uncached.steps[step].logits, cache: uncached.after(n) };
  compareStep(runner, counts, trajectory, step, found, expected);
  if (step !== steps[0]) return;
  const arm = Arm.uncached(runner.executor, n, 'recompute');
  const { logits } = await arm.prefill(tokens.slice(0, n), captureNothing);
  compareStep(runner, counts, trajectory, step, found, { logits, cache: arm.cache });
}

interface Made {
  logits: FloatArray;
  cache: KVCache;
}

/** Logits, and the row of K and V that the step made, into a check's counts. */
export function compareStep(
  { executor }: StepRunner,
  counts: Checks['patch-self'],
  { prompt, promptLength }: Trajectory,
  step: number,
  found: Made,
  expected: Made,
): void {
  const n = promptLength + step;
  const { headDim } = executor.config;
  const newest = (data: FloatArray) => data.subarray(data.length - executor.config.kvHeads * headDim);
  addCheck(counts, executor.policy, `prompt ${prompt.id}, step ${step}`, (tally) => {
    tally.add('logits', `n = ${n}`, found.logits, expected.logits, found.logits.length);
    for (const layer of executor.blocks) {
      const [a, b] = [found.cache.view(layer, n), expected.cache.view(layer, n)];
      tally.add(`blocks.${layer}.attn.hook_cache_k`, `n = ${n}`, newest(a.keys), newest(b.keys), headDim);
      tally.add(`blocks.${layer}.attn.hook_cache_v`, `n = ${n}`, newest(a.values), newest(b.values), headDim);
    }
  });
}
