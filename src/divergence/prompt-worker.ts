/** A worker thread's script: runs the prompts it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { KvlensError } from '../errors.ts';
import type { PromptInput } from './prompt-run.ts';
import { openPromptRunner, type RunnerConfig } from './prompt-runner.ts';
import type { WorkerReply } from './worker-pool.ts';

const port = parentPort;
if (!port) throw new Error('prompt-worker runs in a worker thread');
const config: RunnerConfig = workerData;
const runner = openPromptRunner(config);
// The error is reported with the first prompt, not as an unhandled rejection.
runner.catch(() => undefined);

port.on('message', async (prompt: PromptInput) => {
  port.postMessage(await answer(prompt));
});

async function answer(prompt: PromptInput): Promise<WorkerReply> {
  try {
    return { result: await (await runner).run(prompt) };
  } catch (error) {
    if (error instanceof KvlensError) {
      const { message, hint, exitCode } = error;
      return { error: { message, exitCode, ...(hint === undefined ? {} : { hint }) } };
    }
    return {
      error: { message: error instanceof Error ? (error.stack ?? error.message) : String(error), exitCode: null },
    };
  }
}
