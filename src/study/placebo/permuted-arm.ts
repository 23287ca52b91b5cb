/**
 * One uncached arm whose matmuls sum in another order, running free with the draws of the plain uncached arm.
 *
 * Row i of a forward is the last row of a forward over i + 1 rows (gate prefix; `checkPlacebo` for the permuted kernel), so
 * one forward over the uncached arm's tokens has the permuted arm's logits of every step up to the first whose token is
 * another one. From there the arm goes on by itself, two rows per step, reading the rows of that forward.
 */
import { bitEqual } from '../../divergence/counterfactual.ts';
import type { OperationClass } from '../../graph/kernels.ts';
import { Arm } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor, type StepKernel } from '../../model/executor.ts';
import { forward } from '../../model/plans.ts';
import { chooseToken, type Strategy } from '../../model/sampling/index.ts';
import { placeboKernel } from './placebo-kernel.ts';

/** What the uncached arm did on one prompt, and what a permuted one may do. */
export interface PlaceboPrompt {
  /** Keys the draws, as the uncached arm's. */
  id: string;
  /** Prompt and new tokens of the uncached arm; it decided the last one and did not read it. */
  tokens: readonly number[];
  promptLength: number;
  strategy: Strategy;
  /** Classes to permute: `placeboClasses`. */
  classes: readonly OperationClass[];
  /** Most new tokens, as of the uncached arm. */
  maxNewTokens: number;
  /** The uncached arm's logits [d_vocab] of each step: equal ones need no second choice. */
  logits?: readonly FloatArray[];
  /** Whether a text ends with these new tokens; asked after each. */
  ends(newTokens: readonly number[]): boolean;
}

/** How a permuted arm is computed: one forward and steps of two rows, or every step by itself over all rows. */
export type PlaceboPlan = 'forward' | 'recompute';

export interface PermutedArm {
  /** New tokens of the arm running free. */
  tokens: number[];
  /** First step whose token is not the uncached arm's; null: the same text. */
  divergedAt: number | null;
  /** Logits [d_vocab] of each step on the arm's own tokens. */
  logits: FloatArray[];
  /** Logits [d_vocab] of each step on the uncached arm's tokens. */
  forced: FloatArray[];
}

/** Run the arm whose sums `seed` orders. Its sessions stay loaded. */
export async function permutedArm(
  executor: Executor,
  prompt: PlaceboPrompt,
  seed: number,
  plan: PlaceboPlan = 'forward',
): Promise<PermutedArm> {
  const { tokens, promptLength, strategy, id, maxNewTokens, ends } = prompt;
  const kernel = placeboKernel(executor.kernels, prompt.classes, seed);
  const limit = Math.max(1, Math.min(maxNewTokens, executor.config.maxPositions - promptLength + 1));
  const capacity = Math.max(promptLength + limit, tokens.length) - 1;
  const armPlan = plan === 'forward' ? 'stand-in' : 'recompute';
  const arm = Arm.uncached(executor, capacity, armPlan, 2, kernel);
  const forced = await forcedLogits(executor, arm, prompt, kernel, plan);
  const choose = (logits: FloatArray, step: number) => chooseToken(logits, strategy, { prompt: id, step });
  const theirs = tokens.slice(promptLength);
  const isSame = (logits: FloatArray, step: number) => {
    const plain = prompt.logits?.[step];
    return plain !== undefined && bitEqual(logits, plain);
  };
  const found = forced.findIndex((logits, step) => !isSame(logits, step) && choose(logits, step) !== theirs[step]);
  if (found < 0) return { tokens: theirs, divergedAt: null, logits: forced, forced };
  const own = tokens.slice(0, promptLength + found);
  const logits = forced.slice(0, found + 1);
  own.push(choose(logits[found], found));
  // Rows of the forward that the arm reads are those of tokens it shares; its steps overwrite the others before they are read.
  for (let step = found + 1; step < limit && !ends(own.slice(promptLength)); step++) {
    const made = await arm.step(own, captureNothing);
    logits.push(made.logits);
    own.push(choose(made.logits, step));
  }
  return { tokens: own.slice(promptLength), divergedAt: found, logits, forced };
}

/** Logits of every step on the uncached arm's tokens; `arm` then holds the rows of all tokens that were read. */
async function forcedLogits(
  executor: Executor,
  arm: Arm,
  { tokens, promptLength }: PlaceboPrompt,
  kernel: StepKernel,
  plan: PlaceboPlan,
): Promise<FloatArray[]> {
  const read = tokens.slice(0, -1);
  if (plan === 'recompute' || read.length === 1) {
    const logits = [(await arm.prefill(tokens.slice(0, promptLength), captureNothing)).logits];
    for (let n = promptLength + 1; n <= read.length; n++) {
      logits.push((await arm.step(tokens.slice(0, n), captureNothing)).logits);
    }
    return logits;
  }
  const { vocabSize } = executor.config;
  // A pass over one row alone sums as no row of a longer pass does, and it is what the arm does with a prompt of one token.
  const alone = promptLength === 1 ? [(await arm.prefill(tokens.slice(0, 1), captureNothing)).logits] : [];
  const request = { tokens: read, start: 0, cache: arm.cache, kernel, capture: captureNothing };
  const { logits } = await forward(executor, request);
  if (!logits) throw new Error('placebo: the forward stopped before the unembedding');
  const rows = Array.from({ length: read.length - promptLength + 1 }, (_, step) => {
    const row = promptLength - 1 + step;
    return logits.subarray(row * vocabSize, (row + 1) * vocabSize);
  });
  return [...alone, ...rows.slice(alone.length)];
}
