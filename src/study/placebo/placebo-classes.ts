/** Which classes of operations a placebo permutes: those whose sums the decode kernel makes in another order. */
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { type OperationClass, operationClasses } from '../../graph/kernels.ts';
import { resolvePolicy } from '../../graph/rounding.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import { Executor } from '../../model/executor.ts';
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
 * The classes whose matmuls the preset's decode kernel changes in at least one bit on at least one of the prompts, computed in
 * float32: where every value is rounded to a half type a changed sum shows in one element of thousands, and a class would be
 * missed on a few steps. Once per model and kernel preset is enough.
 * @throws UsageError where prefill and decode kernel differ in what belongs to no class.
 */
export async function placeboClasses(
  executor: Executor,
  prompts: readonly PromptInput[],
  { strategy, steps, ignoreEos = false, plan = 'stand-in' }: PlaceboClassesOptions,
): Promise<OperationClass[]> {
  const unrounded = new Executor({
    ...executor.options,
    policy: resolvePolicy(executor.compute === 'f64' ? 'fp64' : 'fp32'),
  });
  const changed = new Set<OperationClass>();
  try {
    for (const prompt of prompts) {
      const trajectory = await traceArms({
        ...{ executor: unrounded, prompt, strategy, ignoreEos, maxNewTokens: steps + 1 },
        ...{ decodeRows: 1, uncachedPlan: plan },
      });
      for (const name of changedClasses(await flipRates(unrounded, forcedRunOf(trajectory)))) changed.add(name);
    }
  } finally {
    await unrounded.release();
  }
  return operationClasses.filter((name) => changed.has(name));
}
