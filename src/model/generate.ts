/** Generation in either arm: with a K/V cache, or by recomputing the whole sequence for every token. */
import { RunError, UsageError } from '../errors.ts';
import { Arm, type ArmStep } from './arms.ts';
import { type Capture, captureNothing, type Executor } from './executor.ts';
import { chooseToken, type Strategy } from './sampling/index.ts';

/** Which arm continues the prompt, for how long, and what is captured on the way. */
export interface GenerateOptions {
  /** `cached` decodes the newest rows on a K/V cache; `uncached` runs all rows for every token. Default `cached`. */
  arm?: 'cached' | 'uncached';
  maxNewTokens: number;
  /** Default greedy. */
  strategy?: Strategy;
  /** Keys the random draws: the same id draws the same numbers. Default `prompt`. */
  promptId?: string;
  /** Newest rows each step of the cached arm recomputes; default 1. */
  decodeRows?: number;
  /** Go on after the end token. */
  ignoreEos?: boolean;
  /** What each step captures; default nothing. */
  capture?: Capture;
  /** Called after each step. */
  onStep?: (step: GeneratedStep) => void;
  /** Stops after the current step when it fires. */
  signal?: AbortSignal;
}

/** One step: what ran, and the token it decided. */
export interface GeneratedStep extends ArmStep {
  /** 0 is the token the prefill decides. */
  step: number;
  token: number;
}

/** The continuation of a prompt. */
export interface Generated {
  /** New tokens only; the end token, if it came, is the last. */
  tokens: number[];
  /** Why it stopped: the end token, the number of tokens or the context, or the signal. */
  stop: 'eos' | 'length' | 'stopped';
}

/**
 * Continue `prompt` (token ids).
 * @throws UsageError for an empty prompt or one that is longer than the context, RunError where logits are NaN.
 */
export async function generate(
  executor: Executor,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<Generated> {
  const { maxNewTokens, strategy = { kind: 'greedy' }, promptId = 'prompt', decodeRows = 1 } = options;
  const { capture = captureNothing, signal } = options;
  const { maxPositions, eosTokenIds } = executor.config;
  if (prompt.length === 0 || prompt.length > maxPositions) {
    throw new UsageError(`prompt: found ${prompt.length} tokens, expected 1 … ${maxPositions}`);
  }
  // The last token is decided by the last position, so it needs no row of its own.
  const limit = Math.min(maxNewTokens, maxPositions - prompt.length + 1);
  const capacity = prompt.length + Math.max(0, limit - 1);
  const arm =
    options.arm === 'uncached'
      ? Arm.uncached(executor, capacity, 'recompute')
      : Arm.cached(executor, capacity, decodeRows);
  const sequence = [...prompt];
  const tokens: number[] = [];
  for (let step = 0; step < limit; step++) {
    const found = step === 0 ? await arm.prefill(sequence, capture) : await arm.step(sequence, capture);
    const token = chooseToken(found.logits, strategy, { prompt: promptId, step });
    if (Number.isNaN(found.logits[token])) {
      throw new RunError(
        `step ${step}: the logits are NaN, so there is no token to choose`,
        'kvlens audit names the first operation that is not finite',
      );
    }
    tokens.push(token);
    sequence.push(token);
    options.onStep?.({ ...found, step, token });
    if (!options.ignoreEos && eosTokenIds.includes(token)) return { tokens, stop: 'eos' };
    if (signal?.aborted) return { tokens, stop: 'stopped' };
  }
  return { tokens, stop: 'length' };
}
