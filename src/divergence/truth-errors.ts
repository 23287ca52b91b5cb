/**
 * How far the arms are from the truth: from the run's own float64 oracle (its rounded weights and tables), and from the
 * unrounded checkpoint in single and in double precision. Each is one forward over the uncached arm's tokens.
 */
import { policies, type RoundingPolicy } from '../graph/rounding.ts';
import type { FloatArray } from '../model/arrays.ts';
import type { Executor } from '../model/executor.ts';
import { centredDistance, oracleErrors } from './metrics/logits.ts';
import { oracleLogits } from './oracle.ts';
import type { StepRecord } from './rows.ts';

/** The unrounded checkpoint, executors of the policies fp32 and fp64. */
export interface References {
  single: Executor | null;
  double: Executor | null;
}

export const noReferences: References = { single: null, double: null };

/**
 * What of the references a run of this policy can be compared with: null where the policy is that reference itself, since the
 * distance of its uncached arm would be 0 by construction.
 */
export function referencesOf(policy: RoundingPolicy, { single, double }: References): References {
  return {
    single: computesAs(policy, policies.fp32) ? null : single,
    double: computesAs(policy, policies.fp64) ? null : double,
  };
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
