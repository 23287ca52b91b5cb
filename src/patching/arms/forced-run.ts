/**
 * A trajectory as attribution and the nulls look at it: the tokens that every other run is forced to read, and by decode step
 * the uncached arm's logits and how far the cached arm is from them.
 */
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { spotCheckForward } from '../../divergence/spot-check.ts';
import { UsageError } from '../../errors.ts';
import type { GraphKernel } from '../../graph/kernels.ts';
import { Arm, type UncachedPlan } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { type Trajectory, traceArms } from './trajectory.ts';

/** Decode step s (from 0) reads tokens 0 … promptLength + s; its newest position is promptLength + s. */
export interface ForcedRun {
  /** Id of the prompt. */
  id: string;
  /** Prompt and forced continuation, every one of them read. */
  tokens: readonly number[];
  /** The token that was decided last, and not read. */
  decided: number;
  promptLength: number;
  /** Tokens read at each decode step: promptLength + 1, promptLength + 2, … */
  lengths: readonly number[];
  /** Logits [d_vocab] of each decode step. */
  logits: readonly FloatArray[];
  /** K/V rows of all tokens; not to be written to. */
  cache: KVCache;
  /** Centred L2 between the logits of the cached arm and the uncached arm's, by decode step. */
  observed: readonly number[];
}

/** The decode steps of a trajectory; none where it ended with the prefill. */
export function forcedRunOf({ prompt, promptLength, tokens, cached, uncached }: Trajectory): ForcedRun {
  const steps = uncached.steps.slice(1);
  return {
    ...{ id: prompt.id, promptLength, tokens: tokens.slice(0, -1), decided: tokens[tokens.length - 1] },
    lengths: steps.map(({ n }) => n),
    logits: steps.map(({ logits }) => logits),
    cache: uncached.after(tokens.length - 1),
    observed: steps.map(({ logits }, i) => centredDistance(cached.steps[i + 1].logits, logits)),
  };
}

export interface ForcedOptions {
  /** Most decode steps to make; fewer where the text or the context ends. */
  steps: number;
  /** Tokens to read after the prompt; absent: the arm's own greedy ones. */
  continuation?: readonly number[];
  /** `stand-in` where gates null and prefix hold for the kernel, else `recompute`. Default `stand-in`. */
  plan?: UncachedPlan;
  /** Go on after the end token. */
  ignoreEos?: boolean;
}

/** Trace a prompt, greedily or on given tokens. @throws UsageError for a prompt that leaves no decode step. */
export async function forcedRun(
  executor: Executor,
  prompt: readonly number[],
  { steps, continuation, plan = 'stand-in', ignoreEos = false }: ForcedOptions,
): Promise<ForcedRun> {
  const { maxPositions } = executor.config;
  const most = Math.min(continuation?.length ?? steps, steps, maxPositions - prompt.length);
  if (prompt.length === 0 || most < 1) {
    throw new UsageError(
      `prompt: ${prompt.length} tokens leave no decode step, expected 1 … ${maxPositions - 1} tokens`,
    );
  }
  // A trajectory does not run its last token, so one more is given than is read.
  const forced = continuation === undefined ? null : [...continuation.slice(0, most), continuation[most - 1]];
  const trajectory = await traceArms({
    ...{ executor, prompt: { id: 'prompt', index: 0, tokens: prompt, continuation: forced } },
    ...{ strategy: { kind: 'greedy' }, maxNewTokens: most + 1, ignoreEos, decodeRows: 1, uncachedPlan: plan },
  });
  return forcedRunOf(trajectory);
}

/**
 * The uncached arm under another kernel, on the tokens of `run`: logits [d_vocab] by decode step, from one forward unless `plan`
 * is `recompute`. If a spot check finds them wrong, they are recomputed in full.
 */
export async function uncachedUnder(
  executor: Executor,
  kernel: GraphKernel,
  run: ForcedRun,
  plan: UncachedPlan,
): Promise<FloatArray[]> {
  const { tokens, decided, promptLength, lengths, id } = run;
  const { maxPositions } = executor.config;
  const arm =
    plan === 'recompute'
      ? Arm.uncached(executor, tokens.length, plan, 2, kernel)
      : Arm.ofForward(executor, [...tokens, decided].slice(0, maxPositions), 2, kernel);
  const logits = [(await arm.prefill(tokens.slice(0, promptLength), captureNothing)).logits];
  for (const n of lengths) logits.push((await arm.step(tokens.slice(0, n), captureNothing)).logits);
  if (plan === 'stand-in') {
    const forced = [...tokens, decided];
    const checks = await spotCheckForward({ executor, kernel, cache: arm.cache, forced, promptLength, logits, id });
    if ([...checks.values()].includes(false)) return uncachedUnder(executor, kernel, run, 'recompute');
  }
  return logits.slice(1);
}
