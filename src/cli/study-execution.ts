/** How a study fits into memory: how many workers, and whether the placebo's kernels stay loaded between prompts. */
import { loadedParameters } from '../checkpoint/expand-kv.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { oracleState } from '../divergence/oracle.ts';
import { InputError } from '../errors.ts';
import { operationClasses } from '../graph/kernels.ts';
import type { RoundingPolicy } from '../graph/rounding.ts';
import { estimateMemory, processBytes } from '../model/memory.ts';
import type { ResolvedStudy } from '../study/definition/resolve.ts';
import { placeboBytes, placeboSeeds } from '../study/placebo/index.ts';
import { longestSequence, memoryLimit, shownBytes } from './execution.ts';

export interface StudyExecution {
  workers: number;
  /** A placebo arm's kernels are closed after its text: those of all arms do not fit beside one another. */
  releasePlacebo: boolean;
  /** For stderr; null where everything fits. */
  note: string | null;
}

/**
 * Choose how a study runs. Each thread has one model, precision and kernel preset loaded at a time, with the same weights in
 * fp32 and fp64 as references.
 * @throws InputError if a model does not fit
 */
export function chooseStudyExecution(
  study: Pick<ResolvedStudy, 'definition' | 'models' | 'groups'>,
  options: { workers: number; maxMemory: number | null },
): StudyExecution {
  const { maxNewTokens, placebo } = study.definition;
  const limit = memoryLimit(options.maxMemory);
  const source = options.maxMemory === null ? 'memory' : '--max-memory';
  let [largest, resting, one] = [0, 0, 0];
  for (const { model, policy } of study.groups) {
    const { checkpoint, prompts } = study.models.get(model)!;
    const rows = longestSequence(prompts, maxNewTokens, checkpoint.config);
    const thread = threadBytes(checkpoint, policy, rows);
    // Which classes are permuted is known once the gates are measured: at most all of them.
    const permuted = (arms: number) => placeboBytes(checkpoint.config, policy, operationClasses, arms);
    const arms = placeboSeeds(placebo, policy).length;
    const needed = processBytes + thread + permuted(Math.min(1, arms));
    if (needed > limit) {
      throw new InputError(
        `${source}: ${checkpoint.name} in ${policy.name} takes about ${shownBytes(needed)} in a study, ${shownBytes(limit)} may be used`,
        'kvlens diverge runs layer by layer on given tokens (--prefill N); or raise --max-memory',
      );
    }
    largest = Math.max(largest, thread);
    one = Math.max(one, permuted(Math.min(1, arms)));
    resting = Math.max(resting, permuted(arms));
  }
  const fitting = (thread: number) => Math.max(1, Math.floor((limit - processBytes) / thread));
  const workers = Math.min(options.workers, fitting(largest + one));
  const releasePlacebo = resting > one && fitting(largest + resting) < workers;
  if (workers === options.workers && !releasePlacebo) return { workers, releasePlacebo, note: null };
  const estimate = `memory: about ${shownBytes(largest)} per worker${resting > 0 ? `, ${shownBytes(resting)} for the placebo` : ''}; ${shownBytes(limit)} may be used`;
  const choice = [
    `${workers} of ${options.workers} workers`,
    ...(releasePlacebo ? ['placebo arms loaded anew for each prompt'] : []),
  ];
  return { workers, releasePlacebo, note: `${estimate}: ${choice.join(', ')}` };
}

/** What one thread holds while it measures a group's gates: no later unit holds more, but for its placebo. */
function threadBytes(checkpoint: Checkpoint, policy: RoundingPolicy, rows: number): number {
  const parameters = loadedParameters(checkpoint);
  const { resident } = estimateMemory(checkpoint, policy, rows);
  // References of 4 and 8 bytes per parameter, and the oracle's 8.
  const oracle = oracleState(checkpoint, policy) === 'on' ? 8 * parameters : 0;
  return resident - processBytes + 12 * parameters + oracle;
}
