/** What follows a patched step: ordinary decode on the rows it left, teacher-forced on the uncached arm's tokens. */
import { captureNothing } from '../model/executor.ts';
import type { StepResult } from './step.ts';
import { distanceTo, type Distance, type Recovery, recoveryOf, type TokenReturn, tokenReturn } from './recovery.ts';
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

/** Go on from a patched step and measure it at `horizons`. */
export async function continueFrom(
  trajectory: Trajectory,
  base: BaseDistances,
  { arm, logits }: Pick<StepResult, 'arm' | 'logits'>,
  step: number,
  horizons: readonly number[],
): Promise<Continuation> {
  const { uncached, tokens, promptLength } = trajectory;
  const wanted = new Set(visibleHorizons(trajectory, step, horizons));
  const last = Math.max(0, ...wanted);
  const outcomes: Outcome[] = [];
  const equal: boolean[] = [];
  let found = logits;
  for (let horizon = 0; horizon <= last; horizon++) {
    const at = step + horizon;
    if (horizon > 0) found = (await arm.step(tokens.slice(0, promptLength + at), captureNothing)).logits;
    const target = uncached.steps[at];
    equal.push(trajectory.choose(found, at) === target.token);
    if (wanted.has(horizon)) {
      outcomes.push({ horizon, recovery: recoveryOf(base.at(at), distanceTo(target.logits, found)) });
    }
  }
  const baseEqual = equal.map((_, horizon) => base.sameToken(step + horizon));
  return { outcomes, tokens: tokenReturn(equal), baseTokens: tokenReturn(baseEqual) };
}
