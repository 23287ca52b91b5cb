/**
 * The float64 oracle of a run: its rounded weights, constants and rotary tables, everything else in double, on the
 * uncached arm's tokens. It says which arm is closer to the truth the rounding departs from.
 */
import { loadedParameters } from '../checkpoint/expand-kv.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { oracleOf, type RoundingPolicy } from '../graph/rounding.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, Executor } from '../model/executor.ts';
import { forward } from '../model/plans.ts';

/** Above this many parameters the oracle is off: it would need eight bytes for each. */
export const oracleParameterLimit = 200e6;

/** An oracle for an executor's model and policy, or null where the policy is float64 itself or the model is too large. */
export function openOracle(executor: Executor): Executor | null {
  const { checkpoint, policy } = executor.options;
  if (oracleState(checkpoint, policy) !== 'on') return null;
  return new Executor({ ...executor.options, policy: oracleOf(policy) });
}

/** Whether a run has an oracle, and why not: for the manifest. */
export function oracleState(checkpoint: Checkpoint, policy: RoundingPolicy): string {
  if (policy.compute === 'float64') return 'off: the run computes in float64 itself';
  const parameters = loadedParameters(checkpoint);
  return parameters > oracleParameterLimit ? `off: ${parameters} parameters, more than ${oracleParameterLimit}` : 'on';
}

/** Oracle logits of rows first … tokens.length − 1, from one forward pass: [rows, d_vocab]; null before a tape's last stage. */
export async function oracleLogits(
  oracle: Executor,
  tokens: readonly number[],
  first: number,
): Promise<FloatArray | null> {
  const cache = oracle.newCache(tokens.length);
  const { logits } = await forward(oracle, { tokens, start: 0, cache, kernel: 'prefill', capture: captureNothing });
  return logits?.subarray(first * oracle.config.vocabSize) ?? null;
}
