/** Trajectories of tiny checkpoints and embedded models for the patching tests. */
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { modelHooks } from '../../../src/graph/hooks.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { StepRunner } from '../../../src/patching/arms/step.ts';
import { type TraceRequest, traceArms } from '../../../src/patching/arms/trajectory.ts';

export const promptTokens = [1, 17, 5, 88, 42, 42, 7];

export async function executorOf(dir: string, precision = 'fp16', kernels = 'ort'): Promise<Executor> {
  const checkpoint = await openCheckpoint(dir);
  return new Executor({ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 });
}

/** A traced prompt, and a runner for its steps; greedy, eight new tokens unless said otherwise. */
export async function traced(executor: Executor, changes: Partial<TraceRequest> = {}) {
  const decodeRows = changes.decodeRows ?? 1;
  const trajectory = await traceArms({
    executor,
    prompt: { id: 'test', index: 0, tokens: promptTokens, continuation: null },
    strategy: { kind: 'greedy' },
    ...{ maxNewTokens: 8, ignoreEos: true, decodeRows, uncachedPlan: 'stand-in' },
    ...changes,
  });
  const cachedArm = changes.cachedArm === undefined ? {} : { cachedArm: changes.cachedArm };
  return { trajectory, runner: new StepRunner(executor, 'test', { decodeRows, ...cachedArm }) };
}

export function allHooks(executor: Executor): ReadonlySet<string> {
  const hooks = modelHooks(executor.config).filter(({ definition }) => !definition.optIn);
  return new Set(hooks.map(({ name }) => name));
}
