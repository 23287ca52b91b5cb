/** What a divergence run found, in the form the terminal, `--json` and the report show it. */
import type { StorageType } from '../numerics/types.ts';

/** One line of the per-layer block: drift of the newest row, relative L2 between the arms. */
export interface DriftRow {
  /** `embed`, `L0` …, `final` (input of the unembedding), `logits`. */
  label: string;
  /** Root mean square over prompts, per bin of steps (30 bins over steps 1 … last); 0 = exactly 0, null = no step. */
  bins: (number | null)[];
  /** Root mean square and maximum over all steps. */
  rms: number;
  max: number;
  /** Root mean square of what the layer's kernel adds by itself (same input, same history); null where not measured. */
  added: number | null;
  /** Share of steps in which not one bit differs, 0 … 1. */
  equalShare: number;
}

/** One teacher-forced step where the arms pick different tokens. */
export interface FlipRow {
  /** The prompt's index in the run, and its id. */
  promptIndex: number;
  prompt: string;
  step: number;
  /** The tokens as text; null without a tokenizer. */
  uncached: { token: number; text: string | null; margin: number; tie: boolean };
  cached: { token: number; text: string | null; margin: number; tie: boolean };
}

/** The first operation, in step and execution order, whose inputs are bit-equal and whose output is not. */
export interface Origin {
  prompt: string;
  promptIndex: number;
  step: number;
  /** Full hook name of the output. */
  hook: string;
  /** The operation in the architecture's words, for example `q kᵀ of block 0, head 3`. */
  operation: string;
  layer: number;
  head: number | null;
  nDiffer: number;
  nElements: number;
  /** Largest difference in ulp of the hook's type. */
  maxUlp: number;
  /** True if the operation reads rows of the cache. */
  readsCache: boolean;
}

export interface OracleErrors {
  /** Mean L2 of mean-centred logits to the float64 oracle. */
  cached: number;
  uncached: number;
}

export type GateStatus = 'passed' | 'failed' | 'not-applicable';
export type GateClass = 'harness' | 'identification';

/** How the scope ends of a gate that a run layer by layer shows the first stages only. */
export const firstStages = 'embedding and block 0 of a run layer by layer';

/** One gate's result, as stored in controls.json. */
export interface GateResult {
  name: string;
  class: GateClass;
  passed: boolean;
  status: GateStatus;
  /** What was found, in words and numbers. */
  measured: string;
  required: string;
  /** What the measurement covered. */
  scope: string;
}

/** `=` no bit differs · `≈` bits differ, no token · `✗` tokens differ · `!` a gate failed: no number counts. */
export type Verdict = 'equal' | 'bits-differ' | 'tokens-differ' | 'not-valid';

/** What a run of both arms found: what the terminal and `--json` show. `kl` and `tv` as in steps.arrow, `l2` of mean-centred logits. */
export interface DivergenceSummary {
  model: string;
  precision: string;
  kernels: string;
  /** A preset whose decode steps run this one's prefill kernel too, by name; null where none has a name. */
  matchedKernels: string | null;
  /** The graphs imitate kernels that the runtime does not have. */
  emulated: boolean;
  strategy: string;
  decodeRows: number;
  /** Faults planted in the cached arm, in words; none in an honest run. */
  planted: readonly string[];
  /** The type the residual stream is rounded to, whose unit roundoff is 1 u. */
  unit: StorageType;
  prompts: number;
  /** Teacher-forced steps that count (step 0 excluded), in all and of the longest prompt. */
  steps: number;
  longestSteps: number;
  /** Steps in which at least one bit of a compared hook differs. */
  differingSteps: number;
  drift: DriftRow[];
  flips: number;
  /** Flips where one arm has an exact tie for the top. */
  tieFlips: number;
  /** Prompts whose free-running (or teacher-forced, if that is all that ran) tokens part. */
  divergedPrompts: number;
  /** Steps of the first flips, ascending: first and median for the text line. */
  firstFlipSteps: number[];
  /** Means over counted steps. */
  kl: number;
  tv: number;
  l2: number;
  oracle: OracleErrors | null;
  /** Flips, widest margin first; at most a few. */
  widestFlips: FlipRow[];
  firstDivergence: Origin | null;
  /** All origins of the first differing step. */
  origins: Origin[];
  gates: GateResult[];
  verdict: Verdict;
  /** Steps recomputed the honest way, and how many of them differed from the stand-in. */
  spotChecks: { steps: number; failed: number };
}
