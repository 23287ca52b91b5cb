/** What one prompt contributes to a run: rows of the Arrow tables and the counts the summary is made of. */
import type { ActivationRecord } from '../model/activation-rows.ts';
import type { StorageType } from '../numerics/types.ts';
import type { LogitsComparison } from './metrics/logits.ts';
import type { RowStatistics } from './metrics/row-comparison.ts';
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
  /** Some element of some hook differs; null once the arms read different tokens. */
  differs: boolean | null;
  divergedBefore: boolean;
  logits: LogitsComparison;
  tvProcessed: number | null;
  errorCached: number | null;
  errorUncached: number | null;
  errorCosine: number | null;
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

/** What became of one prompt. */
export interface PromptResult {
  index: number;
  prompt: string;
  steps: StepRecord[];
  layers: LayerRecord[];
  activations: ArmActivation[];
  /** New tokens of each arm; free-running, or the forced continuation. */
  tokensCached: number[];
  tokensUncached: number[];
  /** All origins of the first differing step, in execution order; empty if nothing differed. */
  origins: Origin[];
  /** NaN and infinite elements of all hooks, and the first hook that held one. */
  nonfinite: { elements: number; nan: number; hook: string | null };
  spotChecks: { steps: number; failed: number };
  /** The uncached arm was recomputed in full instead of through its stand-in. */
  recomputed: boolean;
}
