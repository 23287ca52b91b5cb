/** Everything one thread needs to run prompts: a checkpoint, an executor and an oracle, opened once. */
import { type CheckpointReference, openReference } from '../checkpoint/expand-kv.ts';
import { selectHooks } from '../graph/hooks.ts';
import type { KernelPreset } from '../graph/kernels.ts';
import type { RoundingPolicy } from '../graph/rounding.ts';
import { Executor } from '../model/executor.ts';
import { openOracle } from './oracle.ts';
import { type PromptInput, type PromptRunOptions, runPrompt } from './prompt-run.ts';
import type { PromptResult } from './rows.ts';
import { openPool, type Pool, type Runner } from './worker-pool.ts';

/** A run's settings as plain data, so that they can be sent to a thread. */
export interface RunnerConfig extends Omit<PromptRunOptions, 'executor' | 'oracle' | 'references' | 'hooks'> {
  checkpoint: CheckpointReference;
  policy: RoundingPolicy;
  kernels: KernelPreset;
  threads: number;
  /** GLOB or names. */
  hooks: string;
}

export type PromptRunner = Runner<PromptInput, PromptResult>;

/** A pool of `workers` threads that run prompts. */
export function openPromptPool(config: RunnerConfig, workers: number): Pool<PromptInput, PromptResult> {
  return openPool({ config, workers, open: openPromptRunner, script: new URL('./prompt-worker.js', import.meta.url) });
}

/** What a thread is sent of a prompt. */
export function promptInput({ id, index, tokens, continuation }: PromptInput): PromptInput {
  return { id, index, tokens, continuation };
}

/** Open a runner. */
export async function openPromptRunner(config: RunnerConfig): Promise<PromptRunner> {
  const { checkpoint: reference, policy, kernels, threads, hooks, ...options } = config;
  const checkpoint = await openReference(reference);
  const executor = new Executor({ checkpoint, policy, kernels, threads });
  const oracle = openOracle(executor);
  const run: PromptRunOptions = { ...options, executor, oracle, hooks: selectHooks(hooks, checkpoint.config) };
  return {
    run: (prompt) => runPrompt(run, prompt),
    close: async () => {
      await executor.release();
      await oracle?.release();
    },
  };
}
