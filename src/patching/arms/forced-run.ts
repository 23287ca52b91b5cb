/** The uncached arm of one prompt: the tokens that every other arm is forced to read, its logits, and its K/V rows. */
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { UsageError } from '../../errors.ts';
import type { GraphKernel } from '../../graph/kernels.ts';
import { Arm, type UncachedPlan } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { argmax } from '../../model/sampling/index.ts';

export interface ForcedOptions {
  /** Most decode steps to make; fewer where the text or the context ends. */
  steps: number;
  /** Tokens to read after the prompt; absent: the arm's own greedy ones. */
  continuation?: readonly number[];
  /** `stand-in` where gates null and prefix hold for the kernel, else `recompute`. Default `stand-in`. */
  plan?: UncachedPlan;
  /** Kernel of every pass; default the preset's prefill kernel. */
  kernel?: GraphKernel;
  /** Go on after the end token. */
  ignoreEos?: boolean;
}

/** Decode step s (from 0) reads tokens 0 … promptLength + s; its newest position is promptLength + s. */
export interface ForcedRun {
  /** Prompt and forced continuation, every one of them read. */
  tokens: readonly number[];
  promptLength: number;
  /** Tokens read at each decode step: promptLength + 1, promptLength + 2, … */
  lengths: readonly number[];
  /** Logits [d_vocab] of each decode step. */
  logits: readonly FloatArray[];
  /** K/V rows of all tokens. */
  cache: KVCache;
}

/** @throws UsageError for a prompt that leaves no decode step. */
export async function forcedRun(
  executor: Executor,
  prompt: readonly number[],
  { steps, continuation, plan = 'stand-in', kernel, ignoreEos = false }: ForcedOptions,
): Promise<ForcedRun> {
  const { maxPositions, eosTokenIds } = executor.config;
  const most = Math.min(continuation?.length ?? steps, steps, maxPositions - prompt.length);
  if (prompt.length === 0 || most < 1) {
    throw new UsageError(
      `prompt: ${prompt.length} tokens leave no decode step, expected 1 … ${maxPositions - 1} tokens`,
    );
  }
  const arm = Arm.uncached(executor, prompt.length + most, plan, 2, kernel ?? 'prefill');
  const tokens = [...prompt];
  const logits: FloatArray[] = [];
  let decided = (await arm.prefill(tokens, captureNothing)).logits;
  for (let step = 0; step < most; step++) {
    const next = continuation?.[step] ?? argmax(decided);
    if (continuation === undefined && !ignoreEos && eosTokenIds.includes(next)) break;
    tokens.push(next);
    decided = (await arm.step(tokens, captureNothing)).logits;
    logits.push(decided);
  }
  const lengths = logits.map((_, step) => prompt.length + step + 1);
  return { tokens, promptLength: prompt.length, lengths, logits, cache: arm.cache };
}

/** Centred L2 between the logits of the cached arm, which reads the same tokens, and the uncached arm's: by decode step. */
export async function observedDrift(executor: Executor, run: ForcedRun, decode?: GraphKernel): Promise<number[]> {
  const arm = Arm.cached(executor, run.tokens.length, 1, decode === undefined ? {} : { kernel: decode });
  await arm.prefill(run.tokens.slice(0, run.promptLength), captureNothing);
  const distances: number[] = [];
  for (const [step, n] of run.lengths.entries()) {
    const { logits } = await arm.step(run.tokens.slice(0, n), captureNothing);
    distances.push(centredDistance(logits, run.logits[step]));
  }
  return distances;
}
