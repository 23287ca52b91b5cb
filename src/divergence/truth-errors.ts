/**
 * How far the arms are from the truth: from the run's own float64 oracle (its rounded weights and tables), and from the
 * unrounded checkpoint in single and in double precision. Each is one forward over the uncached arm's tokens.
 */
import { loadedParameters } from '../checkpoint/expand-kv.ts';
import { policies, type RoundingPolicy } from '../graph/rounding.ts';
import type { FloatArray } from '../model/arrays.ts';
import { Executor } from '../model/executor.ts';
import { centredDistance, oracleErrors } from './metrics/logits.ts';
import { oracleLogits, oracleParameterLimit } from './oracle.ts';
import type { StepRecord } from './rows.ts';

/** The unrounded checkpoint: policies fp32 and fp64. */
export interface References {
  single: Executor | null;
  double: Executor | null;
}

export const noReferences: References = { single: null, double: null };

/**
 * The references of a run. Null where the policy is that reference itself – the distance of the uncached arm to it would be 0
 * by construction – and where the model is too large, as for the oracle. A run layer by layer has none.
 */
export function openReferences(executor: Executor): References {
  const { options, policy } = executor;
  if (options.tape || loadedParameters(options.checkpoint) > oracleParameterLimit) return noReferences;
  const open = (reference: RoundingPolicy) =>
    computesAs(policy, reference) ? null : new Executor({ ...options, policy: reference });
  return { single: open(policies.fp32), double: open(policies.fp64) };
}

/** True if a policy is this one whatever it is called. */
function computesAs(policy: RoundingPolicy, reference: RoundingPolicy): boolean {
  const rounds = [policy.default, ...Object.values(policy.places)];
  const sameConstants = policy.constants === undefined || policy.constants === reference.default;
  return policy.compute === reference.compute && sameConstants && rounds.every((type) => type === reference.default);
}

/** One prompt that has run: its steps, and the logits of both arms at each, [d_vocab]. */
export interface ForcedLogits {
  /** Prompt and new tokens; the last one was not run. */
  forced: readonly number[];
  promptLength: number;
  /** By step; null at a stage of a tape that has no logits. */
  records: readonly (StepRecord | null)[];
  cached: readonly FloatArray[];
  uncached: readonly FloatArray[];
}

/** Write errors and drifts into the records. */
export async function addTruthErrors(
  run: ForcedLogits,
  { oracle, references }: { oracle: Executor | null; references: References },
): Promise<void> {
  await eachStep(oracle, run, (record, truth, cached, uncached) => {
    const errors = oracleErrors(cached, uncached, truth);
    record.errorCached = errors.cached;
    record.errorUncached = errors.uncached;
    record.errorCosine = errors.cosine;
  });
  for (const which of ['single', 'double'] as const) {
    await eachStep(references[which], run, (record, truth, cached, uncached) => {
      record.drift[which] = { cached: centredDistance(cached, truth), uncached: centredDistance(uncached, truth) };
    });
  }
}

async function eachStep(
  truth: Executor | null,
  { forced, promptLength, records, cached, uncached }: ForcedLogits,
  add: (record: StepRecord, truth: FloatArray, cached: FloatArray, uncached: FloatArray) => void,
): Promise<void> {
  if (!truth) return;
  const { vocabSize } = truth.config;
  const logits = await oracleLogits(truth, forced.slice(0, -1), promptLength - 1);
  if (!logits) return;
  records.forEach((record, step) => {
    if (!record) return;
    add(record, logits.subarray(step * vocabSize, (step + 1) * vocabSize), cached[step], uncached[step]);
  });
}
