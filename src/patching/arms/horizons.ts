/** What follows a patched step: ordinary decode on the rows it left, teacher-forced on the uncached arm's tokens. */

import type { Arm } from '../../model/arms.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing } from '../../model/executor.ts';
import { type Distance, distanceTo, type Recovery, recoveryOf, type TokenReturn, tokenReturn } from './recovery.ts';
import type { ArmTrace, Trajectory } from './trajectory.ts';

/** A patch seen from one horizon: 0 is the (last) patched step, 1 the next. */
export interface Outcome {
  horizon: number;
  recovery: Recovery;
}

/** A patched step and what became of it. */
export interface Continuation {
  outcomes: Outcome[];
  /** Tokens from the patched step to the largest horizon. */
  tokens: TokenReturn;
  /** The same of the arm without the patch. */
  baseTokens: TokenReturn;
}

/** Distances of the unpatched arm to the uncached one, by step; made once per prompt. */
export class BaseDistances {
  private readonly known = new Map<number, Distance>();
  private readonly trajectory: Trajectory;
  private readonly arm: ArmTrace;

  /** @param arm the unpatched arm: the cached one unless said otherwise */
  constructor(trajectory: Trajectory, arm: ArmTrace = trajectory.cached) {
    this.trajectory = trajectory;
    this.arm = arm;
  }

  at(step: number): Distance {
    const known = this.known.get(step);
    if (known) return known;
    const made = distanceTo(this.trajectory.uncached.steps[step].logits, this.arm.steps[step].logits);
    this.known.set(step, made);
    return made;
  }

  /** The unpatched arm's token is the uncached arm's. */
  sameToken(step: number): boolean {
    return this.arm.steps[step].token === this.trajectory.uncached.steps[step].token;
  }
}

/** Horizons at which a patch at `step` can be seen: the prompt may end earlier. */
export function visibleHorizons(trajectory: Trajectory, step: number, horizons: readonly number[]): number[] {
  return horizons.filter((horizon) => step + horizon < trajectory.steps);
}

/**
 * Measure a patched step and those after it.
 * @param logits of the patched step
 * @param next logits of a later step, called for one after the other
 */
export async function continueFrom(
  trajectory: Trajectory,
  base: BaseDistances,
  logits: FloatArray,
  step: number,
  horizons: readonly number[],
  next: (step: number) => Promise<FloatArray>,
): Promise<Continuation> {
  const last = Math.max(0, ...visibleHorizons(trajectory, step, horizons));
  const found = [logits];
  for (let horizon = 1; horizon <= last; horizon++) found.push(await next(step + horizon));
  return measured(trajectory, base, step, horizons, found);
}

/** What an arm whose logits are known did from `step` on. */
export function knownContinuation(
  trajectory: Trajectory,
  base: BaseDistances,
  step: number,
  horizons: readonly number[],
  arm: ArmTrace,
): Continuation {
  const last = Math.max(0, ...visibleHorizons(trajectory, step, horizons));
  return measured(
    trajectory,
    base,
    step,
    horizons,
    arm.steps.slice(step, step + last + 1).map(({ logits }) => logits),
  );
}

/** Ordinary decode after a patched step. */
export function decodeFrom({ tokens, promptLength }: Trajectory, arm: Arm): (step: number) => Promise<FloatArray> {
  return async (step) => (await arm.step(tokens.slice(0, promptLength + step), captureNothing)).logits;
}

/** @param logits by horizon from 0 */
function measured(
  trajectory: Trajectory,
  base: BaseDistances,
  step: number,
  horizons: readonly number[],
  logits: readonly FloatArray[],
): Continuation {
  const target = (horizon: number) => trajectory.uncached.steps[step + horizon];
  const outcomes = visibleHorizons(trajectory, step, horizons).map((horizon) => ({
    horizon,
    recovery: recoveryOf(base.at(step + horizon), distanceTo(target(horizon).logits, logits[horizon])),
  }));
  const equal = logits.map((row, horizon) => trajectory.choose(row, step + horizon) === target(horizon).token);
  const baseEqual = logits.map((_, horizon) => base.sameToken(step + horizon));
  return { outcomes, tokens: tokenReturn(equal), baseTokens: tokenReturn(baseEqual) };
}
