/**
 * What a study found: plain JSON, of which `--json`, the terminal and the report are made. Rates are shares (0 … 1), distances
 * are of mean-centred logits, and every interval is a 95 % one; the unit is the prompt unless a name says otherwise.
 */
import type { Verdict } from '../claims/claim.ts';
import type {
  Accuracy,
  ArmErrors,
  CellRecovery,
  Drift,
  FirstDivergence,
  FlipPrediction,
  FlipRate,
  HonestSteps,
  LayerDrift,
  Measured,
  OrderMatchedOutcome,
  PlaceboOutcome,
  SequenceDivergence,
  TemperatureDrift,
} from './figures.ts';
import type { Setting } from './setting.ts';

export type * from './figures.ts';
export type { Setting } from './setting.ts';

export interface StudyOutcome {
  /** In the order of the study; a condition without a unit is left out, unless a failed harness gate is why. */
  conditions: ConditionOutcome[];
  /** Half precision against single, by model and kernels. */
  falsification: Falsification[];
  /** Error that each layer's kernel adds, by model, precision and kernels. */
  profiles: LayerProfile[];
  verdicts: StudyVerdict[];
  /** Claims × settings: the verdicts over all models. */
  table: TableCell[];
  /** What a run on this kind of machine can and cannot say. */
  machine: string;
}

/** A verdict, and what of the study it is about. */
export interface StudyVerdict extends Verdict, Setting {
  /** Null: over all models. */
  model: string | null;
  /** Name of the condition it is about; null: over several. */
  condition: string | null;
  /** The part that answers the claim. */
  headline: boolean;
}

export type TableCell = Pick<StudyVerdict, 'claim' | 'part' | 'verdict' | 'headline'> & Setting;

export interface ConditionOutcome extends Setting {
  /** Place in the study, and name. */
  index: number;
  condition: string;
  model: string;
  family: string;
  strategy: string;
  /** Failed gates of its group; a failed harness gate leaves no results. */
  failedGates: string[];
  /** Gates that claims rest on and that were not run. */
  gatesNotRun: string[];
  results: ConditionResults | null;
}

export interface ConditionResults {
  prompts: number;
  /** Teacher-forced steps that count (step 0 is the prefill's). */
  steps: number;
  /** Of these, steps with a logit whose bits differ. */
  differingSteps: number;
  /** Prompts with a fault planted in the cached arm. */
  planted: number;
  accuracy: Accuracy;
  divergence: SequenceDivergence;
  firstDivergence: FirstDivergence;
  flips: FlipRate;
  /** Null where it takes other prompts, and there are none. */
  prediction: FlipPrediction | null;
  drift: Drift;
  reference: { oracle: ArmErrors | null; single: ArmErrors | null; double: ArmErrors | null };
  /** Of profiled prompts; null where there is none. */
  layers: LayerDrift[] | null;
  cells: CellRecovery[];
  orderMatched: OrderMatchedOutcome | null;
  temperatures: TemperatureDrift[];
  placebo: PlaceboOutcome | null;
  uncached: HonestSteps;
  nonfinite: { elements: number; nan: number; hooks: string[] };
}

/** How many decades half precision drifts further than single precision, in a linear and in a quadratic metric. */
export interface Falsification extends Setting {
  model: string;
  /** The single precision that the half one is set against. */
  control: string;
  strategies: string[];
  prompts: number;
  /** L2 of mean-centred logits: linear. KL: quadratic. Null where single precision does not differ. */
  l2: Measured | null;
  kl: Measured | null;
  /** log10 of the ratio of the unit roundoffs, and of its square: what rounding alone predicts. */
  predicted: { linear: number; quadratic: number; powersOfTwo: [number, number] };
  /** Prompts with a flip, in either precision. */
  flippedHalf: Measured;
  flippedSingle: Measured;
}

/** Mean relative error that each layer's kernel adds, and how it is spread. */
export interface LayerProfile extends Setting {
  model: string;
  family: string;
  prompts: number;
  /** Blocks in order; null where it is not a number. */
  added: { layer: number; mean: number | null }[];
  /** S = a_0 / median of a_l, l ≥ 1; and U = max a / median a. Null where a median is 0. */
  sharpness: Measured | null;
  unevenness: Measured | null;
}
