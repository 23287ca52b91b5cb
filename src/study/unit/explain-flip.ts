/** A first flip that leans further than rounding does in this prompt is explained at once, while its arms can be run again. */
import type { PromptResult } from '../../divergence/rows.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import { DriftRecord, explain } from '../../patching/explain/index.ts';
import type { PromptJob, PromptUnit } from './unit.ts';
import type { GroupBench } from './workbench.ts';

export interface FlipToExplain {
  job: PromptJob;
  result: PromptResult;
  strategy: Strategy;
  decodeRows: number;
  faults: readonly Fault[];
}

/** Cause and verdict of the first flip of a prompt, by the rules of `--explain`. */
export async function explainFlip(
  { executor }: GroupBench,
  { job, result, strategy, decodeRows, faults }: FlipToExplain,
): Promise<PromptUnit['explained']> {
  const record = new DriftRecord();
  record.add(result);
  const { verdict, step } = await explain({
    ...{ executor, strategy, decodeRows, faults, record, gates: job.gates, prompts: [job.prompt], folder: null },
  });
  return step === null ? null : { step: step.step, cause: verdict.cause, verdict: verdict.rule };
}
