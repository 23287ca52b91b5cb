/**
 * How much of the arms' distance a patch removes: R = 1 − D(patched, uncached) / D(cached, uncached), with D the L2 norm of
 * the difference of mean-centred logits, or the KL divergence (`recoveryKl`, quadratic and not comparable with R). All
 * logits are teacher-forced on the uncached arm's tokens, temperature 1.
 */
import { compareLogits } from '../../divergence/metrics/logits.ts';
import type { FloatArray } from '../../model/arrays.ts';

/** Two rows of logits apart: centred L2, KL(uncached ‖ other) in nats, elements that differ. */
export interface Distance {
  l2: number;
  kl: number;
  differ: number;
}

/** Distance of logits [d_vocab] to the uncached arm's. */
export function distanceTo(uncached: FloatArray, logits: FloatArray): Distance {
  const dtype = logits instanceof Float64Array ? 'f64' : 'f32';
  const { l2Centred, kl, nDiffer } = compareLogits(logits, uncached, dtype);
  return { l2: nDiffer === 0 ? 0 : l2Centred, kl, differ: nDiffer };
}

/** What a patch did at one step. */
export interface Recovery {
  base: Distance;
  patched: Distance;
  /** 1 − patched / base in L2; null where the base is 0. */
  recovery: number | null;
  recoveryKl: number | null;
  /** Not one logit differs from the uncached arm's. */
  exact: boolean;
  /** Nothing to recover, and nothing broken. */
  vacuous: boolean;
  /** Nothing to recover, but the patch made a difference. */
  harmful: boolean;
}

/** Recovery of one patched step. @param base the unpatched arm, @param patched with the patch, each to the uncached arm */
export function recoveryOf(base: Distance, patched: Distance): Recovery {
  return {
    base,
    patched,
    recovery: ratio(base.l2, patched.l2),
    recoveryKl: ratio(base.kl, patched.kl),
    exact: patched.differ === 0,
    vacuous: base.differ === 0 && patched.differ === 0,
    harmful: base.differ === 0 && patched.differ > 0,
  };
}

/** R over several cells: 1 − Σ D_patched / Σ D_base, never a mean of ratios; null where there is nothing to recover. */
export function pooledRecovery(cells: readonly { base: number; patched: number }[]): number | null {
  let base = 0;
  let patched = 0;
  for (const cell of cells) {
    base += cell.base;
    patched += cell.patched;
  }
  return ratio(base, patched);
}

function ratio(base: number, patched: number): number | null {
  return base === 0 ? null : 1 - patched / base;
}

/** Whether the tokens come back to the uncached arm's, looking at consecutive steps from the patched one. */
export interface TokenReturn {
  /** First horizon at which the token is the uncached arm's; null if at none that was looked at. */
  first: number | null;
  /** How many tokens from the patched step on are the uncached arm's, as a free-running continuation would choose them. */
  follows: number;
  /** All tokens that were looked at are: `follows` is a lower bound. */
  toTheEnd: boolean;
}

/**
 * Teacher-forced choices decide the free-running continuation up to the first that differs, so no second run is needed.
 * @param equal by horizon 0, 1, …: the choice is the uncached arm's
 */
export function tokenReturn(equal: readonly boolean[]): TokenReturn {
  const first = equal.indexOf(true);
  const miss = equal.indexOf(false);
  return { first: first < 0 ? null : first, follows: miss < 0 ? equal.length : miss, toTheEnd: miss < 0 };
}
