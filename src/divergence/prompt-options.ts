/** What a prompt's run is told. */
import type { Hook } from '../graph/hooks.ts';
import type { UncachedPlan } from '../model/arms.ts';
import type { Executor } from '../model/executor.ts';
import type { Fault } from '../model/faults.ts';
import type { Strategy } from '../model/sampling/index.ts';
import type { Coupling } from '../study/definition/condition.ts';
import type { References } from './truth-errors.ts';

/**
 * How the uncached arm of a prompt is computed. `forward`, where gates null and prefix hold: tokens that are given in one
 * forward if what it captures fits into memory, other prompts through the stand-in.
 */
export type PromptPlan = UncachedPlan | 'forward';

/** What every prompt of a run shares. */
export interface PromptRunOptions {
  executor: Executor;
  /** The run's float64 oracle, or null. */
  oracle: Executor | null;
  strategy: Strategy;
  /** Hooks whose comparison becomes rows of layers.arrow. */
  hooks: readonly Hook[];
  mode: 'teacher-forced' | 'free-running' | 'both';
  decodeRows: number;
  maxNewTokens: number;
  ignoreEos: boolean;
  uncachedPlan: PromptPlan;
  saveActivations: boolean;
  /** Planted in the state of the cached arm, and of the order-matched one. */
  faults?: readonly Fault[];
  /**
   * `all` (default) compares every hook at every step. `logits` captures none: no rows of layers.arrow, no activations, no
   * first divergence, and whether a step differs is not measured.
   */
  compare?: 'all' | 'logits';
  /** The unrounded checkpoint, run once over each prompt's tokens. Default none. */
  references?: References;
  /** Temperatures at which total variation is summed. Default none. */
  temperatures?: readonly number[];
  /** Texts that end what an arm writes by itself; they need a tokenizer. Default none. */
  stop?: readonly string[];
  /** Hand the uncached arm's logits over with the result. Default false. */
  keepLogits?: boolean;
  /**
   * Free-running steps whose candidates are kept: `all`, or that at which the arms' choices first differ, if any (`flip`).
   * Default `none`.
   */
  candidates?: 'all' | 'flip' | 'none';
  /** Measure order-matched decoding as an arm of its own, with the faults and the padding of the cached arm. Default false. */
  orderMatched?: boolean;
  /** Whether the cached arm draws the uncached arm's random numbers (default) or its own. */
  coupling?: Coupling;
  /** Rows of left padding of the cached arm; needs `compare: 'logits'`, since hooks have other shapes. Default 0. */
  padding?: number;
}

/** A prompt with its forced continuation, if any. */
export interface PromptInput {
  id: string;
  index: number;
  tokens: readonly number[];
  /** Forced next tokens (teacher-forced only); null: the uncached arm chooses. */
  continuation: readonly number[] | null;
}
