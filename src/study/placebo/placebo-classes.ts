/** Which classes of operations a placebo permutes: those that the decode kernel computes otherwise, found on a few prompts. */
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { type OperationClass, operationClasses } from '../../graph/kernels.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';
import type { Strategy } from '../../model/sampling/index.ts';
import { forcedRunOf } from '../../patching/arms/forced-run.ts';
import { traceArms } from '../../patching/arms/trajectory.ts';
import { changedClasses, flipRates } from '../../patching/nulls/flip-rates.ts';

export interface PlaceboClassesOptions {
  strategy: Strategy;
  /** Most decode steps of a prompt. */
  steps: number;
  ignoreEos?: boolean;
  /** `stand-in` where gates null and prefix hold. Default `stand-in`. */
  plan?: UncachedPlan;
}

/**
 * The classes whose matmuls the preset's decode kernel changes in at least one bit on at least one of the prompts. Once per
 * model, precision and kernel preset is enough: which classes change is decided by shapes and kernels.
 * @throws UsageError where prefill and decode kernel differ in what belongs to no class.
 */
export async function placeboClasses(
  executor: Executor,
  prompts: readonly PromptInput[],
  { strategy, steps, ignoreEos = false, plan = 'stand-in' }: PlaceboClassesOptions,
): Promise<OperationClass[]> {
  const changed = new Set<OperationClass>();
  for (const prompt of prompts) {
    const trajectory = await traceArms({
      ...{ executor, prompt, strategy, ignoreEos, maxNewTokens: steps + 1, decodeRows: 1, uncachedPlan: plan },
    });
    for (const name of changedClasses(await flipRates(executor, forcedRunOf(trajectory)))) changed.add(name);
  }
  return operationClasses.filter((name) => changed.has(name));
}
