/**
 * What one work unit of a study – one prompt under one condition – contributes to the outcomes: sums and counts, small and
 * plain, so that they fit into a journal line. The rows of the Arrow tables travel beside it.
 */
import type { Fault } from '../../model/faults.ts';

/** How a text ended: at the end token, at a stop sequence, at the limit of new tokens, at the end of the context. */
export type StopReason = 'end' | 'stop-sequence' | 'limit' | 'context';

/** Arms whose answers are kept. */
export const answerArms = ['cached', 'uncached', 'order-matched'] as const;
export type AnswerArm = (typeof answerArms)[number];

/** The text of one arm, running free, judged. */
export interface Answer {
  arm: AnswerArm;
  /** New tokens, the end token included. */
  tokens: number[];
  /** The new text, cut before a stop sequence; null without a tokenizer. */
  text: string | null;
  /** What was extracted, as compared; null where nothing was found. */
  answer: string | null;
  /** Null where the prompt has no gold answer. */
  correct: boolean | null;
  stop: StopReason;
}

/** A teacher-forced step in which the arms choose different tokens. Step 0 is not counted. */
export interface FlipSummary {
  step: number;
  /**
   * By how much the uncached arm's choice leads in what its strategy maximises, in logits: top-2 margin (greedy), lead of the
   * perturbed scores × temperature (Gumbel-max). Null for inverse-CDF draws, which maximise nothing.
   */
  margin: number | null;
  /** Exact tie for the top raw logit in one arm. */
  tie: boolean;
  /** One arm's token is not in the other's set after top-k and top-p: the cut decided, not the lead. */
  boundary: boolean;
}

/** Sums over the teacher-forced steps that count (step > 0). Distances as steps.arrow defines them. */
export interface StepSums {
  steps: number;
  /** Steps with a logit whose bits differ. */
  differing: number;
  ties: number;
  l2Centred: number;
  kl: number;
  js: number;
  tv: number;
  /** Σ tv_processed, and Σ 2 TV / (1 + TV) of it: the bounds of a Gumbel-max flip rate; null where greedy. */
  tvProcessed: number | null;
  tvProcessedUpper: number | null;
  /** Σ L2 of mean-centred logits to the run's own float64 oracle; null where there is none. */
  errorCached: number | null;
  errorUncached: number | null;
  /** The same to the unrounded checkpoint in single and in double precision, on the same tokens. */
  single: { cached: number; uncached: number } | null;
  double: { cached: number; uncached: number } | null;
}

/** Drift of the residual stream after one layer, over the counted steps of a profiled prompt. */
export interface LayerSums {
  /** −1: embedding; n layers: final norm. */
  layer: number;
  steps: number;
  /** Steps in which no bit differs. */
  equal: number;
  /** Σ of rel_l2, and Σ of its square. */
  relL2: number;
  relL2Squared: number;
  /** Σ of added, via history, via residual (relative L2); null where not measured (embedding, final). */
  added: number | null;
  viaHistory: number | null;
  viaResidual: number | null;
}

/** Order-matched decoding: the cached arm's state, the prefill's kernel, two rows per step – against the uncached arm. */
export interface OrderMatchedSums {
  steps: number;
  /** Logits of every step and K/V rows of every layer at the end whose bits differ. */
  differingElements: number;
  /** Σ L2 of mean-centred logits. */
  distance: number;
}

/** Total variation of the two arms' distributions at one temperature, raw logits, no top-k or top-p. */
export interface TemperatureSums {
  temperature: number;
  /** Σ over counted steps of TV, and of 2 TV / (1 + TV). */
  tv: number;
  upper: number;
}

/** The accuracy placebo: uncached arms whose sums run in other orders, same draws. One entry per seed. */
export interface PlaceboSummary {
  correct: (boolean | null)[];
  /** First step whose token is not the uncached arm's; null: the same text. */
  divergedAt: (number | null)[];
  /**
   * How far a permuted arm's logits lean against the uncached choice: max over tokens j of Δz_j − Δz_i, i the uncached argmax, on
   * the uncached arm's tokens, over all seeds and counted steps, in bins of `driftBin`: pairs [bin, count], ascending.
   */
  drift: [number, number][];
}

/** Distances of one kind of cell of the 2×2 or the residual patch; vacuous and by-construction cells are left out. */
export interface CellSums {
  spec: string;
  history: string;
  kernel: string;
  /** A patch is named by its hook column; `none` for the plain cells. */
  hook: string;
  horizon: number;
  cells: number;
  base: number;
  patched: number;
  /** Cells left out: vacuous ones, ones that are exact by construction; and harmful ones, which are in `patched`. */
  vacuous: number;
  byConstruction: number;
  harmful: number;
  /** Cells (those left out too) without a differing logit. */
  exact: number;
}

export interface UnitSummary {
  /** Place of the condition in the study, and of the prompt in its file. */
  condition: number;
  index: number;
  prompt: string;
  promptTokens: number;
  sums: StepSums;
  flips: FlipSummary[];
  /** Of counted steps, in order: the uncached top-2 margin of raw logits, and how much the runner-up gained on the top in the cached arm (Δz_2 − Δz_1). */
  margins: number[];
  shifts: number[];
  /** Free-running: first step whose tokens differ, or after which one arm alone has stopped; null where the texts are equal. */
  divergedAt: number | null;
  answers: Answer[];
  orderMatched: OrderMatchedSums | null;
  temperatures: TemperatureSums[];
  /** Null where the prompt is not profiled. */
  layers: LayerSums[] | null;
  placebo: PlaceboSummary | null;
  /** Null where the prompt is not patched. */
  cells: CellSums[] | null;
  /** Steps of the uncached arm: recomputed the honest way as a check, failed checks, and whether all were recomputed in the end. */
  uncached: { checked: number; failed: number; recomputed: boolean };
  nonfinite: { elements: number; nan: number; hook: string | null };
  /** A fault was planted in the cached arm of this prompt. */
  planted: boolean;
}

/** Bins of `PlaceboSummary.drift`: −Infinity for values ≤ 0 is bin `zeroBin`, else floor(64 · log2 value). */
export const zeroBin = -1_000_000;

export function driftBin(value: number): number {
  return value > 0 ? Math.floor(64 * Math.log2(value)) : zeroBin;
}

/** Upper edge of a bin: no value in it is larger. */
export function binUpper(bin: number): number {
  return bin === zeroBin ? 0 : 2 ** ((bin + 1) / 64);
}

/** Faults planted in the cached arm of a share of the prompts. */
export interface Planting {
  faults: readonly Fault[];
  /** 0 … 1; which prompts is drawn from their ids. */
  share: number;
}
