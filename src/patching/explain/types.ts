/** What an explanation says, in the form the terminal and `--json` show it. */

import type { Origin } from '../../divergence/summary.ts';
import type { KernelRole } from '../../model/executor.ts';
import type { StorageType } from '../../numerics/types.ts';
import type { HistoryKind } from '../arms/two-by-two.ts';

/** `equal`: there is nothing to explain. */
export type Cause = 'harness' | 'storage' | 'state-bug' | 'benign-tie' | 'kernel-shape' | 'not-explained' | 'equal';

/** A judgement, and the rule that gave it (`rules.ts`). */
export interface ExplainVerdict {
  cause: Cause;
  rule: string;
  sentence: string;
}

/** A token with its text; null without a tokenizer. */
export interface TokenText {
  token: number;
  text: string | null;
}

/** One arm at the explained step. */
export interface ExplainedArm extends TokenText {
  /** Lead of the largest raw logit over the second. */
  margin: number;
  /** The largest two are equal. */
  tie: boolean;
  /** Largest raw logits, at most five. */
  top: (TokenText & { logit: number })[];
}

/** What the drift of other steps says about this one's margin. */
export interface PredictedDrift {
  /** Standard deviation of how far two logits move against each other: √2 · rms of L2 / √d_vocab. */
  sigma: number;
  /** The most two logits can have moved against each other in any of those steps: 2 · max |Δz|. */
  largest: number;
  steps: number;
  prompts: number;
  /** `other prompts`: all of the run but this one. `other steps`: of this prompt, where the run has no other. */
  from: 'other prompts' | 'other steps';
  /** The uncached arm's margin is not larger than `largest`. */
  inside: boolean;
}

/** One cell of the 2×2 at the explained step. */
export interface ExplainedCell extends TokenText {
  history: HistoryKind;
  kernel: KernelRole;
  /** L2 of mean-centred logits to the uncached arm; `exact`: not one logit differs. */
  l2: number;
  exact: boolean;
}

/** The step under order-matched decoding with the same state: two rows under the uncached arm's kernel. */
export interface OrderMatched {
  exact: boolean;
  /** Elements of the newest row of every hook and of the rows read that differ from recomputation. */
  differ: number;
  elements: number;
  /** Where that difference starts; null if there is none. */
  first: Origin | null;
}

export type StateKind =
  | 'scaled row'
  | 'stale row'
  | 'rewritten row'
  | 'narrower store'
  | 'wrong position'
  | 'wrong mask'
  | 'wrong token'
  | 'other';

/** Where a step of the cached arm parts from the same step computed from its own inputs. */
export interface StateFault {
  kind: StateKind;
  /** The first step that shows it. */
  step: number;
  /** The first hook, in execution order, that is not what the step's inputs give. */
  hook: string;
  layer: number;
  /** Heads that differ; empty where the fault has none. */
  heads: number[];
  /** Position of the row (of a row of the cache, else the newest). */
  row: number;
  component: 'k' | 'v' | null;
  /** What exactly, in words: the factor, the row it holds, the offset, the keys. */
  detail: string;
  /** Factor of a scaled row, with the interval that gives the same bits. */
  factor?: { value: number; low: number; high: number };
  /** Position whose rows a stale row holds. */
  holds?: number;
  /** Type of a narrower store. */
  type?: StorageType;
  /** Positions that a wrong position is off by. */
  offset?: number;
  /** Keys a wrong mask hides and shows. */
  hidden?: number[];
  shown?: number[];
  /** Other rows of the cache that are not the rows written, at the same step. */
  otherRows: number;
}

/** Files that reproduce the operation with onnxruntime-node alone, or why there are none. */
export interface Reproduction {
  /** Folder with `reproduce.mjs`; null if none was written. */
  folder: string | null;
  /** The operation whose bits it shows, or the reason. */
  what: string;
}

/** One step of one prompt, explained. */
export interface ExplainedStep {
  prompt: string;
  promptIndex: number;
  step: number;
  /** Position of the newest token. */
  position: number;
  flip: boolean;
  /** The newest tokens that were read, as text; ids without a tokenizer. */
  context: TokenText[];
  uncached: ExplainedArm;
  cached: ExplainedArm;
  /** L2 of the difference of mean-centred logits, max |Δz|, and how far the two chosen logits moved against each other. */
  drift: { l2: number; maxAbs: number; pair: number | null };
  predicted: PredictedDrift | null;
  /** First differing operation of the trajectory, and of this step; null if nothing differs. */
  firstOrigin: Origin | null;
  stepOrigin: Origin | null;
  cells: ExplainedCell[];
  orderMatched: OrderMatched;
  state: StateFault | null;
  /** A fault in the state of a later step of the prompt, which cannot have caused this one. */
  later: StateFault | null;
  reproduction: Reproduction;
}

/** An explanation; without a step where there was none to explain. */
export interface Explanation {
  verdict: ExplainVerdict;
  step: ExplainedStep | null;
}
