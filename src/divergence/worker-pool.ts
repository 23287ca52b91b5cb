/** Run prompts in worker threads, each owning its sessions; hand the results back in the order of the prompts. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type ExitCode, exitCodes, InputError, KvlensError } from '../errors.ts';
import type { PromptInput } from './prompt-run.ts';
import { openPromptRunner, type PromptRunner, type RunnerConfig } from './prompt-runner.ts';
import type { PromptResult } from './rows.ts';

/** What a worker answers. */
export type WorkerReply =
  | { result: PromptResult }
  | { error: { message: string; hint?: string; exitCode: ExitCode | null } };

/** Prompts that may wait, finished, for an earlier one: bounds memory. */
const aheadPerWorker = 3;

export interface PromptPool {
  /** Run all prompts; `take` is called in their order. Stops handing out prompts when `signal` fires. */
  runInOrder(
    prompts: readonly PromptInput[],
    take: (result: PromptResult) => void,
    signal?: AbortSignal,
  ): Promise<void>;
  close(): Promise<void>;
}

/** A pool of `workers` threads; one worker runs in this thread. */
export function openPromptPool(config: RunnerConfig, workers: number): PromptPool {
  const file = workerFile();
  const lanes: Lane[] =
    workers > 1 && file !== null
      ? Array.from({ length: workers }, () => new ThreadLane(file, config))
      : [new OwnLane(config)];
  return {
    runInOrder: (prompts, take, signal) => runInOrder(lanes, prompts, take, signal),
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

/** The worker's script: beside this file in the build; sources are run by tools that threads do not inherit. */
function workerFile(): string | null {
  if (!import.meta.url.endsWith('.js')) return null;
  const file = fileURLToPath(new URL('./prompt-worker.js', import.meta.url));
  return existsSync(file) ? file : null;
}

async function runInOrder(
  lanes: readonly Lane[],
  prompts: readonly PromptInput[],
  take: (result: PromptResult) => void,
  signal?: AbortSignal,
): Promise<void> {
  const finished = new Map<number, PromptResult>();
  let next = 0;
  let taken = 0;
  let failure: unknown;
  const waiting: (() => void)[] = [];
  const wake = () => {
    for (const resume of waiting.splice(0)) resume();
  };
  const work = async (lane: Lane) => {
    while (next < prompts.length && !signal?.aborted && failure === undefined) {
      if (next >= taken + lanes.length * aheadPerWorker) {
        await new Promise<void>((resolve) => waiting.push(resolve));
        continue;
      }
      const at = next++;
      const { id, index, tokens, continuation } = prompts[at];
      finished.set(at, await lane.run({ id, index, tokens, continuation }));
      for (let result = finished.get(taken); result; result = finished.get(taken)) {
        finished.delete(taken);
        taken += 1;
        take(result);
      }
      wake();
    }
  };
  const guarded = lanes.map((lane) =>
    work(lane).catch((error: unknown) => {
      failure ??= error;
      wake();
    }),
  );
  signal?.addEventListener('abort', wake, { once: true });
  await Promise.all(guarded);
  if (failure !== undefined) throw failure;
}

interface Lane {
  run(prompt: PromptInput): Promise<PromptResult>;
  close(): Promise<void>;
}

/** Runs prompts in this thread. */
class OwnLane implements Lane {
  private readonly runner: Promise<PromptRunner>;

  constructor(config: RunnerConfig) {
    this.runner = openPromptRunner(config);
  }

  async run(prompt: PromptInput): Promise<PromptResult> {
    // Sessions run synchronously: let signals and progress through between prompts.
    await new Promise((resolve) => setImmediate(resolve));
    return (await this.runner).run(prompt);
  }

  async close(): Promise<void> {
    await (await this.runner).close();
  }
}

/** Runs prompts in a thread of its own, one at a time. */
class ThreadLane implements Lane {
  private readonly worker: Worker;

  constructor(file: string, config: RunnerConfig) {
    this.worker = new Worker(file, { workerData: config });
    this.worker.setMaxListeners(0);
  }

  run(prompt: PromptInput): Promise<PromptResult> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.worker.off('message', onMessage);
        this.worker.off('error', onError);
        settle();
      };
      const onError = (error: Error) => finish(() => reject(error));
      const onMessage = (reply: WorkerReply) =>
        finish(() => {
          if ('result' in reply) resolve(reply.result);
          else reject(revive(reply.error));
        });
      this.worker.on('message', onMessage);
      this.worker.on('error', onError);
      this.worker.postMessage(prompt);
    });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}

function revive({ message, hint, exitCode }: Extract<WorkerReply, { error: unknown }>['error']): Error {
  if (exitCode === null) return new Error(message);
  return exitCode === exitCodes.input ? new InputError(message, hint) : new KvlensError(message, exitCode, hint);
}
