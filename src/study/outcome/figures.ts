/** The figures of one condition's results: plain JSON, as `types.ts` puts them together. */
import type { AnswerArm } from '../unit/unit-summary.ts';

/** A figure with its interval; no interval where fewer than two prompts carry it. */
export interface Measured {
  value: number;
  lower: number | null;
  upper: number | null;
}

export interface Accuracy {
  /** Arms in the order cached, uncached, order-matched; those with a judged answer. Wilson's interval. */
  arms: { arm: AnswerArm; n: number; right: number; share: Measured }[];
  /** Cached against uncached, over prompts in which both are judged; null where none is. */
  paired: PairedAccuracy | null;
}

export interface PairedAccuracy {
  prompts: number;
  /** Discordant pairs: only this arm is right. */
  cachedOnly: number;
  uncachedOnly: number;
  /** Exact McNemar, two-sided; and adjusted by Holm over the conditions of the same setting. */
  p: number;
  adjustedP: number;
  /** How many conditions that are. */
  family: number;
  /** Share right, cached minus uncached, with Tango's score interval. */
  difference: Measured;
  /** Discordant pairs without which no p can pass Holm's first step: smallest n with 2^(1 − n) ≤ 0.05 / family. */
  neededDiscordant: number;
  testable: boolean;
}

/** Whole texts, running free. */
export interface SequenceDivergence {
  diverged: number;
  /** Identical to the end of both texts; identical when the limit of new tokens or the context ended them. */
  equalToEnd: number;
  equalAtLimit: number;
  /** Wilson's interval; without one that diverged, up to 1 − 0.05^(1/n). */
  share: Measured;
}

export interface FirstDivergence {
  /**
   * Cumulative incidence (Aalen–Johansen): the end of a text competes, the limit censors. One entry per step at which a
   * text diverged or ended.
   */
  incidence: { step: number; diverged: number; ended: number; atRisk: number }[];
  /** At a few steps, with intervals. */
  at: { step: number; diverged: Measured }[];
  /** First step at which half have diverged; null where it is never reached. An end of the interval that is not reached is null. */
  median: Measured | null;
  /** Of texts that diverged, by how much the uncached arm's choice led at the first flip, in logits. */
  margins: { count: number; min: number; median: number; max: number } | null;
  /** First flips without a margin (inverse-CDF), decided by the cut of top-k or top-p, with an exact tie. */
  withoutMargin: number;
  boundary: number;
  ties: number;
  /** Texts that diverged at another step than their first teacher-forced flip. */
  unexplained: number;
  /** Lead above which a first flip is suspect: the 99.9 % quantile of the placebo's drift; null without a placebo. */
  suspectAbove: number | null;
  /** Null without a placebo. */
  suspects: number | null;
  /**
   * Suspects that are not explained by running them again: their prompt has no placebo, or has one that leans as far, which is
   * all that is known while the prompt's arms are alive. Null as `suspects`.
   */
  notExplained: { withoutPlacebo: number; withinPlacebo: number } | null;
  /** The first flips of the widest margin, widest first, at most ten. */
  widest: { prompt: string; step: number; margin: number; suspect: boolean | null; planted: boolean }[];
}

export interface FlipRate {
  /** Teacher-forced steps in which the arms choose different tokens, and of these exact ties and cuts of top-k or top-p. */
  flips: number;
  ties: number;
  /** Ties excepted. */
  boundary: number;
  /** Per token, all of them; and without ties and cuts. Bootstrapped by prompt; null without a step. Nothing bounds 0 from above but `none`. */
  perToken: Measured | null;
  plainPerToken: Measured | null;
  /** Without a flip: what 95 % rules out. */
  none: {
    /** Share of prompts that have a flip, at most: 1 − 0.05^(1/prompts). */
    prompts: number;
    /** Flips per step, at most, if steps were independent: 1 − 0.05^(1/steps), about 3/steps. */
    steps: number;
  } | null;
}

/** What the drift's size says about how many flips there should be. */
export type FlipPrediction = GreedyPrediction | SampledPrediction;

/**
 * Greedy: Σ Φ(−margin/σ), σ² the mean squared shift (Δz of the runner-up minus Δz of the top) over the steps of all other
 * prompts. Steps with an exact tie in the uncached arm are apart.
 */
export interface GreedyPrediction {
  kind: 'greedy';
  steps: number;
  observed: number;
  predicted: number;
  /** observed / predicted. */
  ratio: Measured | null;
  /** Steps by predicted probability, in [from, to). */
  calibration: { from: number; to: number; steps: number; predicted: number; observed: Measured; flips: number }[];
  /** How well −margin/σ ranks flips above other steps; null below 10 flips. */
  auc: number | null;
  tied: { steps: number; flips: number };
}

/** Sampled: with keyed Gumbel-max draws the flip rate lies between the mean TV and the mean of 2 TV / (1 + TV). */
export interface SampledPrediction {
  kind: 'sampled';
  coupling: 'gumbel' | 'inverse-cdf' | 'independent';
  observed: Measured | null;
  /** Total variation of the processed distributions; null where it was not measured. */
  lower: Measured | null;
  upper: Measured | null;
  /** The observed interval meets the bounds; null where the coupling has none. */
  within: boolean | null;
}

/** Means per step; null without a step, or where a distance is not a number. */
export interface Drift {
  l2: Measured | null;
  kl: Measured | null;
  js: Measured | null;
  tv: Measured | null;
}

/** Mean L2 of mean-centred logits of each arm to a reference on the same tokens. */
export interface ArmErrors {
  prompts: number;
  steps: number;
  cached: Measured | null;
  uncached: Measured | null;
  /** cached / uncached; null where the uncached arm has no error. */
  ratio: Measured | null;
  /** `neither` where the interval of the ratio holds 1; null without an interval. */
  closer: 'cached' | 'uncached' | 'neither' | null;
}

/** Drift of the residual stream after one layer, relative L2. */
export interface LayerDrift {
  /** −1: embedding; n layers: final norm. */
  layer: number;
  prompts: number;
  steps: number;
  /** Share of steps in which no bit differs. */
  equalShare: number;
  rms: number | null;
  mean: Measured | null;
  /** Mean relative L2 of each part, and its share of the three together (norms do not add up: a convention); null where not measured. */
  added: LayerPart | null;
  viaHistory: LayerPart | null;
  viaResidual: LayerPart | null;
}

export interface LayerPart {
  mean: Measured | null;
  /** Null where all three parts are 0. */
  share: number | null;
}

/** One kind of cell of the 2×2 or the residual patch at one horizon. */
export interface CellRecovery {
  spec: string;
  history: string;
  kernel: string;
  hook: string;
  horizon: number;
  prompts: number;
  cells: number;
  vacuous: number;
  byConstruction: number;
  harmful: number;
  exact: number;
  /** 1 − ΣD_patched / ΣD_base; null where there is nothing to recover. */
  recovery: Measured | null;
}

/** Two rows per step with the cache in use, against the uncached arm. */
export interface OrderMatchedOutcome {
  prompts: number;
  steps: number;
  /** Logits and K/V elements whose bits differ. */
  differingElements: number;
  /** Mean L2 per step; and that of ordinary decoding of the same prompts. */
  distance: number;
  ordinary: number;
}

/** Bounds of a keyed Gumbel-max flip rate at one temperature, no top-k or top-p. */
export interface TemperatureDrift {
  temperature: number;
  /** Mean TV: the lower bound; and mean of 2 TV / (1 + TV): the upper. */
  tv: Measured | null;
  upper: Measured | null;
}

/** The uncached arm against itself summed in other orders. */
export interface PlaceboOutcome {
  prompts: number;
  seeds: number;
  /** Drifts in the histogram, and their 99.9 % quantile (upper edge of its bin), in logits. */
  samples: number;
  drift: number | null;
  /** The histogram: upper edge of a bin in logits, and how many drifts are in it; ascending. */
  bins: [upper: number, count: number][];
  /** Of prompts × seeds, how many texts diverged. */
  texts: number;
  diverged: number;
}

export interface HonestSteps {
  /** Uncached steps recomputed in full as a check, and how many of them differed. */
  checked: number;
  failed: number;
  /** Prompts in which every step was recomputed. */
  recomputed: number;
  /** Steps recomputed in all. */
  steps: number;
}
