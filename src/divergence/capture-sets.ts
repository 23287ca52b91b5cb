/** Which hooks a prompt's run captures, and which it compares in detail. */
import { type Hook, type HookedModel, isCacheHook, modelHooks } from '../graph/hooks.ts';
import type { Capture, Executor } from '../model/executor.ts';
import type { PromptRunOptions } from './prompt-run.ts';

export interface CaptureSets {
  allHooks: Hook[];
  /** Every hook but the opt-in ones. */
  all: Capture;
  /** Once the first divergence is known: rows of the cache that nobody asked for need no figures … */
  afterOrigin: Hook[];
  /** … only whether they differ. */
  otherCacheRows: Hook[];
}

/** The hook sets of a run that asks for `hooks`; made once per run, since sessions are found by the identity of the set. */
export function captureSets(hooks: readonly Hook[], model: HookedModel): CaptureSets {
  const wanted = new Set(hooks.map((hook) => hook.name));
  const allHooks = modelHooks(model).filter((hook) => !hook.definition.optIn || wanted.has(hook.name));
  const isOther = ({ name }: Hook) => isCacheHook(name) && !wanted.has(name);
  return {
    allHooks,
    all: { hooks: new Set(allHooks.map((hook) => hook.name)) },
    afterOrigin: allHooks.filter((hook) => !isOther(hook)),
    otherCacheRows: allHooks.filter(isOther),
  };
}

const knownSets = new WeakMap<Executor, WeakMap<readonly Hook[], CaptureSets>>();

/** The same, found again for every prompt that asks an executor for this list of hooks. */
export function captureSetsOf({ executor, hooks }: Pick<PromptRunOptions, 'executor' | 'hooks'>): CaptureSets {
  const known = knownSets.get(executor) ?? new WeakMap<readonly Hook[], CaptureSets>();
  const sets = known.get(hooks) ?? captureSets(hooks, executor.config);
  knownSets.set(executor, known.set(hooks, sets));
  return sets;
}
