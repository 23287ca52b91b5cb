/** A first flip that leans further than rounding does in this prompt is explained at once, while its arms can be run again. */
import type { PromptResult } from '../../divergence/rows.ts';
import type { Fault } from '../../model/faults.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import { DriftRecord, explain } from '../../patching/explain/index.ts';
import type { PromptJob, PromptUnit } from './unit.ts';
import { binUpper, type FlipSummary, type PlaceboSummary } from './unit-summary.ts';
import type { GroupBench } from './workbench.ts';

export interface FlipToExplain {
  job: PromptJob;
  result: PromptResult;
  strategy: Strategy;
  decodeRows: number;
  faults: readonly Fault[];
}

/**
 * Whether a flip's margin is wider than every drift of its own prompt's placebo. One that the cut of top-k or top-p decided
 * never is: there is no lead to compare.
 */
export function leansFurther(flip: FlipSummary | undefined, placebo: PlaceboSummary | null): boolean {
  const largest = placebo?.drift.at(-1)?.[0];
  if (flip === undefined || flip.margin === null || flip.boundary || largest === undefined) return false;
  return flip.margin > binUpper(largest);
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
