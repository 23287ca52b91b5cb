/** What one prompt contributes to a run: rows of the Arrow tables and the counts the summary is made of. */
import type { ActivationRecord } from '../model/activation-rows.ts';
import type { FloatArray } from '../model/arrays.ts';
import type { StorageType } from '../numerics/types.ts';
import type { StopReason, TemperatureSums } from '../study/unit/unit-summary.ts';
import type { Candidates } from './candidates.ts';
import type { Decisions } from './choices.ts';
import type { LogitsComparison } from './metrics/logits.ts';
import type { RowStatistics } from './metrics/row-comparison.ts';
import type { OrderMatched } from './order-matched.ts';
import type { Origin } from './summary.ts';

export type Protocol = 'teacher-forced' | 'free-running';

/** One row of steps.arrow without the run's condition and prompt. */
export interface StepRecord {
  protocol: Protocol;
  step: number;
  position: number;
  tokenCached: number;
  tokenUncached: number;
  flip: boolean | null;
  /** Some element of some hook differs; null once the arms read different tokens, and where no hook was compared. */
  differs: boolean | null;
  divergedBefore: boolean;
  logits: LogitsComparison;
  tvProcessed: number | null;
  /**
   * By how much the uncached arm's choice leads in what its strategy maximises, in logits. Null for inverse-CDF draws, and
   * where there is no other choice.
   */
  marginChoice: number | null;
  /** One arm's token is not in the other's set after top-k and top-p; null where greedy or once the arms have parted. */
  boundary: boolean | null;
  /** L2 of mean-centred logits to the run's float64 oracle, and the cosine of the two errors. */
  errorCached: number | null;
  errorUncached: number | null;
  errorCosine: number | null;
  /** The same distances to the unrounded checkpoint in single and in double precision; as errors, null once the arms have parted. */
  drift: { single: ArmDrift | null; double: ArmDrift | null };
}

/** Distances of the arms' logits to a reference, L2 of mean-centred logits. */
export interface ArmDrift {
  cached: number;
  uncached: number;
}

/** One row of candidates.arrow without the run's condition and prompt. */
export interface CandidateRecord extends Candidates {
  step: number;
  arm: keyof Decisions;
  /** The arm's choice; where it samples, not always a candidate. */
  token: number;
}

/** One row of layers.arrow without the run's condition and prompt. */
export interface LayerRecord {
  step: number;
  position: number;
  layer: number;
  hook: string;
  kind: string;
  dtype: StorageType;
  statistics: RowStatistics;
  added: number | null;
  viaHistory: number | null;
  viaResidual: number | null;
}

/** One row of an activations file without the run's condition and prompt. */
export interface ArmActivation extends ActivationRecord {
  arm: 'cached' | 'uncached';
}

/** Order-matched decoding – the cache in use, two rows per step, the prefill's kernel – against the uncached arm. */
export interface OrderMatchedArm extends OrderMatched {
  /** Its new tokens; those of the uncached arm up to a step at which it differs. */
  tokens: number[];
  stop: StopReason;
}

/** What became of one prompt. */
export interface PromptResult {
  index: number;
  prompt: string;
  steps: StepRecord[];
  layers: LayerRecord[];
  /** Of the free-running steps that were asked for; by step, then cached before uncached. */
  candidates: CandidateRecord[];
  activations: ArmActivation[];
  /** New tokens of each arm; free-running, or the forced continuation. */
  tokensCached: number[];
  tokensUncached: number[];
  /** How those texts ended; a forced continuation ends at its limit. */
  stops: { cached: StopReason; uncached: StopReason };
  /** The uncached arm's logits [d_vocab] of each teacher-forced step; null where they were not asked for. */
  logits: readonly FloatArray[] | null;
  /** Null where it was not asked for. */
  orderMatched: OrderMatchedArm | null;
  /** Total variation of the teacher-forced steps that count, by temperature asked for. */
  temperatures: TemperatureSums[];
  /** All origins of the first differing step, in execution order; empty if nothing differed. */
  origins: Origin[];
  /** NaN and infinite elements of all hooks, and the first hook that held one. */
  nonfinite: { elements: number; nan: number; hook: string | null };
  spotChecks: { steps: number; failed: number };
  /** The uncached arm was recomputed in full instead of through its stand-in. */
  recomputed: boolean;
}
