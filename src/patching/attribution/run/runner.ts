/** Everything one thread needs to attribute prompts: a checkpoint and an executor. */
import { type CheckpointReference, openReference } from '../../../checkpoint/expand-kv.ts';
import type { PromptInput } from '../../../divergence/prompt-run.ts';
import { openPool, type Pool, type Runner } from '../../../divergence/worker-pool.ts';
import type { KernelPreset } from '../../../graph/kernels.ts';
import type { RoundingPolicy } from '../../../graph/rounding.ts';
import { Executor } from '../../../model/executor.ts';
import { type AttributedPrompt, type AttributionOptions, attributePrompt } from './prompt.ts';

/** A run's settings as plain data, so that they can be sent to a thread. */
export interface AttributionRunnerConfig extends Omit<AttributionOptions, 'executor'> {
  checkpoint: CheckpointReference;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
}

/** Open a runner. */
export async function openAttributionRunner(
  config: AttributionRunnerConfig,
): Promise<Runner<PromptInput, AttributedPrompt>> {
  const { checkpoint: reference, policy, kernels, threads, ...options } = config;
  const executor = new Executor({ checkpoint: await openReference(reference), policy, kernels, threads });
  return {
    run: (prompt) => attributePrompt({ ...options, executor }, prompt),
    close: () => executor.release(),
  };
}

/** A pool of `workers` threads that attribute prompts. */
export function openAttributionPool(
  config: AttributionRunnerConfig,
  workers: number,
): Pool<PromptInput, AttributedPrompt> {
  const script = new URL('./worker.js', import.meta.url);
  return openPool({ config, workers, open: openAttributionRunner, script });
}
