/**
 * C2: the cached path is more accurate in 8 of 9 conditions, so that the direction is systematic. Conditions share their
 * prompts, so 8 of 9 coins is no null: the unit is the prompt, and its differences are summed over the conditions.
 */
import type { SignFlip } from '../statistics/sign-flip.ts';
import { armGates, type Estimate, type Evidence, type Finding, shown, unlessDoubted, type Verdict } from './claim.ts';

/** One condition's paired accuracy. */
export interface C2Condition {
  name: string;
  /** Prompts that only the cached arm, and only the uncached arm, solves. */
  cachedOnly: number;
  uncachedOnly: number;
}

export interface C2Evidence extends Evidence {
  /** Conditions of one precision and one kernel preset whose answers are judged. */
  conditions: readonly C2Condition[];
  /** Conditions that a failed harness gate leaves without numbers: they count, and are not positive. */
  voided: readonly string[];
  /** Of s_i = Σ over conditions (cached right − uncached right), over prompts. */
  signFlip: SignFlip;
  /** Accuracy, cached minus uncached, over all conditions: 90 % interval, the exact bootstrap by prompt. Null where it has none. */
  difference90: Estimate | null;
  /** The uncached arm against itself in other orders, seed by seed: Σ (placebo right − uncached right); and Σ s_i of the same prompts and conditions. Null without one. */
  placebo: { sums: readonly number[]; observed: number } | null;
  /** Discordant pairs without which a condition is untestable, and the conditions that have fewer. */
  power: { neededDiscordant: number; untestable: readonly string[] };
}

export const c2Rules = {
  direction:
    's_i = Σ over conditions (cached right − uncached right): open below 6 prompts with s_i ≠ 0; supported if the sign-flip test over prompts has p < 0.05, Σs > 0, at least 8/9 of the conditions are positive, and Σs exceeds the 95 % quantile of the accuracy placebo (at least 19 seeds); contradicted if p < 0.05 and Σs < 0, or if the 90 % interval of the accuracy difference – the percentiles of the bootstrap by prompt, exact and not drawn – lies within ±1 point',
};

const enoughPrompts = 6;
/** With 19 seeds the 95 % quantile is the largest of them: exceeding it has a chance of 1/20 under the null. */
const enoughSeeds = 19;
/** One point of accuracy. */
const margin = 0.01;

/** The verdict on C2. */
export function judgeC2(evidence: C2Evidence): Verdict[] {
  const { conditions, voided, signFlip, difference90, placebo, power, scope } = evidence;
  const quantile95 = placebo && placeboQuantile(placebo.sums);
  const all = conditions.length + voided.length;
  const positive = conditions.filter(({ cachedOnly, uncachedOnly }) => cachedOnly > uncachedOnly).length;
  const verdict = unlessDoubted(evidence, armGates, (): Finding => {
    const { p, sum, informative } = signFlip;
    if (informative < enoughPrompts) return 'not identifiable';
    const clear = p < 0.05;
    const beyond = placebo !== null && quantile95 !== null && placebo.observed > quantile95;
    // In whole numbers: 8 of 9 is 8/9 exactly.
    if (clear && sum > 0 && 9 * positive >= 8 * all && beyond) return 'supported';
    if (clear && sum < 0) return 'contradicted';
    const equal = difference90 !== null && difference90.lower >= -margin && difference90.upper <= margin;
    return equal ? 'contradicted' : 'not identifiable';
  });
  const inputs = {
    ...{ Σs: signFlip.sum, p: signFlip.p, promptsThatDiffer: signFlip.informative },
    ...{ conditions: all, positive, voided: voided.length },
    ...(difference90 ? shown('difference90', difference90) : { difference90: null }),
    ...{ placeboSeeds: placebo?.sums.length ?? 0, 'placebo.q95': quantile95, 'placebo.Σs': placebo?.observed ?? null },
    neededDiscordant: power.neededDiscordant,
    untestable: power.untestable.length === 0 ? 'none' : power.untestable.join(', '),
    discordant: conditions
      .map(({ name, cachedOnly, uncachedOnly }) => `${name} ${cachedOnly}:${uncachedOnly}`)
      .join(', '),
  };
  return [{ claim: 'C2', part: 'direction', verdict, rule: c2Rules.direction, inputs, scope }];
}

/**
 * The 95 % quantile of a Monte Carlo null: the ⌈0.95 (n + 1)⌉-th smallest of n sums, so that exceeding it has a chance of at
 * most 5 %. Null below 19 seeds. Source: Barnard 1963; Davison and Hinkley 1997, 4.2.
 */
export function placeboQuantile(sums: readonly number[]): number | null {
  if (sums.length < enoughSeeds) return null;
  // 20 divides evenly where 0.95 does not.
  const rank = Math.ceil((19 * (sums.length + 1)) / 20);
  return sums.toSorted((a, b) => a - b)[rank - 1];
}
