/** An operation whose inputs are all bit-equal between the arms and whose output is not, as the summary names it. */
import type { HookedModel } from '../graph/hooks.ts';
import type { ArmStep } from '../model/arms.ts';
import { firstDifferingHead, type HookComparison } from './compare.ts';
import { describeOperation, readsCache } from './operations.ts';
import type { Origin } from './summary.ts';

/** Where an origin was found. */
export interface OriginFound {
  prompt: { id: string; index: number };
  step: number;
  compared: HookComparison;
  cached: ArmStep;
  uncached: ArmStep;
  model: HookedModel;
}

/** The origin with its head, its size and the operation's words. */
export function originOf({ prompt, step, compared, cached, uncached, model }: OriginFound): Origin {
  const { hook, statistics } = compared;
  return {
    prompt: prompt.id,
    promptIndex: prompt.index,
    step,
    hook: hook.name,
    operation: describeOperation(hook, model),
    layer: hook.layer,
    head: firstDifferingHead(hook, cached.activations.get(hook.name)!, uncached.activations.get(hook.name)!),
    nDiffer: statistics.n_differ,
    nElements: statistics.n_elements,
    maxUlp: statistics.max_ulp,
    readsCache: readsCache(hook, model),
  };
}
