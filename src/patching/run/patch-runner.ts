/** Everything one thread needs to patch prompts: a checkpoint, an executor, the resolved spec and its sources. */
import { type CheckpointReference, openReference } from '../../checkpoint/expand-kv.ts';
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { openPool, type Pool, type Runner } from '../../divergence/worker-pool.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import { Executor } from '../../model/executor.ts';
import { type ResolvedSpec, resolveSpec } from '../specification/resolve.ts';
import type { ArmsSpec } from '../specification/spec.ts';
import type { PatchedPrompt, PatchRunOptions } from './patched-prompt.ts';
import { patchPrompt } from './prompt-patching.ts';
import { SavedRuns } from './saved-runs.ts';
import { beforeRotary } from './source-rows.ts';

/** A run's settings as plain data, so that they can be sent to a thread. */
export interface PatchRunnerConfig extends Omit<PatchRunOptions, 'executor' | 'resolved' | 'saved' | 'cachedArm'> {
  checkpoint: CheckpointReference;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
  spec: ArmsSpec;
  /** Ids of the run's prompts: of other runs only theirs are loaded. */
  prompts: readonly string[];
}

/** Open a runner. */
export async function openPatchRunner(config: PatchRunnerConfig): Promise<Runner<PromptInput, PatchedPrompt>> {
  const { checkpoint: reference, policy, kernels, threads, spec, prompts, ...options } = config;
  const checkpoint = await openReference(reference);
  const executor = new Executor({ checkpoint, policy, kernels, threads });
  const resolved = resolveSpec(spec, checkpoint.config, kernels);
  const saved = await openSources(executor, resolved, prompts);
  return {
    run: (prompt) => patchPrompt({ ...options, executor, resolved, saved }, prompt),
    close: () => executor.release(),
  };
}

/** Load what a spec takes from other runs. @throws InputError for a run that does not have it */
export function openSources(
  executor: Executor,
  resolved: ResolvedSpec,
  prompts: readonly string[],
): Promise<SavedRuns> {
  return SavedRuns.open(executor, resolved.saved, savedKinds(executor, resolved), new Set(prompts));
}

/** Kinds of activations that targets take from other runs. */
function savedKinds({ config }: Executor, { cells }: ResolvedSpec): string[] {
  const targets = cells.flatMap((cell) => cell.targets).filter(({ source }) => source.kind === 'run');
  const kinds = targets.flatMap(({ hooks, cache, rotary }) => {
    const key = rotary === 'before' ? beforeRotary(config) : 'attn.rot_k';
    const rows =
      cache === null ? [] : [...(cache.component === 'v' ? [] : [key]), ...(cache.component === 'k' ? [] : ['attn.v'])];
    return [...hooks.map(({ definition }) => definition.kind), ...rows];
  });
  return [...new Set(kinds)];
}

/** A pool of `workers` threads that patch prompts. */
export function openPatchPool(config: PatchRunnerConfig, workers: number): Pool<PromptInput, PatchedPrompt> {
  return openPool({ config, workers, open: openPatchRunner, script: new URL('./patch-worker.js', import.meta.url) });
}
