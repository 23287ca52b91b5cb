/** Which hooks a prompt's run captures, and which it compares in detail. */
import { type Hook, modelHooks } from '../graph/hooks.ts';
import { type Capture, isCacheHook } from '../model/executor.ts';
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

const knownSets = new WeakMap<PromptRunOptions, CaptureSets>();

/** The hook sets of a run, made once: sessions are found by the identity of the set. */
export function captureSets(options: PromptRunOptions): CaptureSets {
  const known = knownSets.get(options);
  if (known) return known;
  const wanted = new Set(options.hooks.map((hook) => hook.name));
  const allHooks = modelHooks(options.executor.config).filter(
    (hook) => !hook.definition.optIn || wanted.has(hook.name),
  );
  const isOther = ({ name }: Hook) => isCacheHook(name) && !wanted.has(name);
  const sets = {
    allHooks,
    all: { hooks: new Set(allHooks.map((hook) => hook.name)) },
    afterOrigin: allHooks.filter((hook) => !isOther(hook)),
    otherCacheRows: allHooks.filter(isOther),
  };
  knownSets.set(options, sets);
  return sets;
}
