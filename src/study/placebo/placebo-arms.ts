/**
 * The accuracy placebo of one prompt: uncached arms whose sums run in other orders, against the uncached arm. They differ by
 * rounding alone – no cache, the same mathematics, the same draws – so what their texts and answers do is what rounding does.
 */
import { setImmediate } from 'node:timers/promises';
import { bitEqual } from '../../divergence/counterfactual.ts';
import { InterruptedError } from '../../errors.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import { argmax } from '../../model/sampling/index.ts';
import { driftBin } from '../unit/unit-summary.ts';
import { type PlaceboPlan, type PlaceboPrompt, permutedArm } from './permuted-arm.ts';
import { placeboKernel } from './placebo-kernel.ts';

export interface PlaceboArmsRequest extends PlaceboPrompt {
  /** The uncached arm's logits [d_vocab] of each step, step 0 included. */
  logits: readonly FloatArray[];
  /** One permuted arm each. */
  seeds: readonly number[];
  /** `recompute` where `checkPlacebo` fails. Default `forward`. */
  plan?: PlaceboPlan;
  /** Close each seed's sessions after its arm, where `placeboBytes` says that they do not fit beside one another. */
  release?: boolean;
  /** Asked before each arm: a prompt with many of them ends early. */
  isInterrupted?: () => boolean;
}

export interface PlaceboArms {
  /** New tokens of each arm, by seed. */
  tokens: number[][];
  /** By seed: the first step whose token is not the uncached arm's; null: the same text. */
  divergedAt: (number | null)[];
  /** As `PlaceboSummary.drift`, over all seeds: pairs [bin, count], ascending. */
  drift: [number, number][];
}

/**
 * Run the permuted arms of one prompt. Sessions of all seeds stay loaded for the next prompt, unless `release` says otherwise.
 * @throws InterruptedError between two arms
 */
export async function placeboArms(executor: Executor, request: PlaceboArmsRequest): Promise<PlaceboArms> {
  const found: PlaceboArms = { tokens: [], divergedAt: [], drift: [] };
  const bins = new Map<number, number>();
  const choices = request.logits.map(argmax);
  for (const seed of request.seeds) {
    // Sessions run synchronously: a signal comes through between arms.
    await setImmediate();
    if (request.isInterrupted?.()) throw new InterruptedError();
    const { tokens, divergedAt, forced } = await permutedArm(executor, request, seed, request.plan);
    found.tokens.push(tokens);
    found.divergedAt.push(divergedAt);
    if (request.release) await executor.releaseKernel(placeboKernel(executor.kernels, request.classes, seed));
    for (let step = 1; step < forced.length; step++) {
      const bin = driftBin(lean(forced[step], request.logits[step], choices[step]));
      bins.set(bin, (bins.get(bin) ?? 0) + 1);
    }
  }
  found.drift = [...bins].sort(([a], [b]) => a - b);
  return found;
}

/**
 * How far a permuted arm's logits lean against a choice i: max over j of Δz_j − Δz_i ≥ 0. What is not finite bounds nothing
 * and counts as the largest number.
 */
export function lean(permuted: FloatArray, plain: FloatArray, choice: number): number {
  const own = permuted[choice] - plain[choice];
  let most = 0;
  for (let j = 0; j < plain.length; j++) {
    const gain = permuted[j] - plain[j] - own;
    // Written so that NaN counts.
    if (!(gain <= most)) most = Number.isNaN(gain) ? Infinity : gain;
  }
  return Math.min(most, Number.MAX_VALUE);
}

/** One permuted arm computed both ways. */
export interface PlaceboCheck {
  seed: number;
  /** Steps that were compared. */
  steps: number;
  /** The texts are the same. */
  tokensEqual: boolean;
  /** Steps whose logits differ in a bit, on the arm's own tokens or on the uncached arm's. */
  differingSteps: number;
  passed: boolean;
}

/** Recompute one permuted arm of a prompt over all rows at every step, and compare it with what `placeboArms` takes for it. */
export async function checkPlacebo(executor: Executor, prompt: PlaceboPrompt, seed: number): Promise<PlaceboCheck> {
  const [quick, honest] = [
    await permutedArm(executor, prompt, seed, 'forward'),
    await permutedArm(executor, prompt, seed, 'recompute'),
  ];
  const tokensEqual =
    quick.tokens.length === honest.tokens.length && quick.tokens.every((token, i) => token === honest.tokens[i]);
  const unlike = (ours: readonly FloatArray[], theirs: readonly FloatArray[]) =>
    theirs.filter((logits, step) => !ours[step] || !bitEqual(ours[step], logits)).length;
  const differingSteps = unlike(quick.logits, honest.logits) + unlike(quick.forced, honest.forced);
  const steps = honest.logits.length + honest.forced.length;
  return { seed, steps, tokensEqual, differingSteps, passed: tokensEqual && differingSteps === 0 };
}
