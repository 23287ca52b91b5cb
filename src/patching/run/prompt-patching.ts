/** One prompt under a spec: both arms, then every cell at every step, each measured at the horizons. */
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { Arm } from '../../model/arms.ts';
import { StepRunner, withTwoRows } from '../arms/step.ts';
import { type CachedArmFactory, traceArms } from '../arms/trajectory.ts';
import { requestOf } from '../arms/two-by-two.ts';
import { attributeHistory } from '../attribution/history-attribution.ts';
import type { PatchedPrompt, PatchRunOptions } from './patched-prompt.ts';
import { PromptCells } from './prompt-cells.ts';

/** Run one prompt. */
export async function patchPrompt(options: PatchRunOptions, prompt: PromptInput): Promise<PatchedPrompt> {
  const { executor, resolved, strategy, decodeRows, maxNewTokens, ignoreEos, uncachedPlan } = options;
  const { faults = [] } = options;
  const cachedArm: CachedArmFactory =
    options.cachedArm ??
    ((capacity, after) => Arm.cached(executor, capacity, decodeRows, { faults, ...(after && { after }) }));
  const trajectory = await traceArms({
    ...{ executor, prompt, strategy, decodeRows, maxNewTokens, ignoreEos, uncachedPlan },
    keep: resolved.keep,
    rewrite: resolved.rewrite,
    cachedArm,
  });
  const { promptLength } = trajectory;
  const runner = new StepRunner(executor, prompt.id, { decodeRows, cachedArm, promptLength });
  const run = new PromptCells(options, trajectory, runner);
  const probe =
    run.usesPrefill && trajectory.steps > 1
      ? requestOf(trajectory, 1, 'prefill', trajectory.cached.history(trajectory.promptLength + 1))
      : null;
  const { cells, checks } = await withTwoRows(runner, probe, () => run.measure());
  return {
    index: prompt.index,
    prompt: prompt.id,
    tokens: trajectory.tokens.slice(trajectory.promptLength),
    steps: trajectory.steps - 1,
    ...{ cells, checks },
    attributions: await attributeHistory(options, trajectory, runner),
    spotChecks: trajectory.spotChecks,
    recomputed: trajectory.recomputed,
  };
}
