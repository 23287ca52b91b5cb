/** A worker thread's script: makes the base run of its own, and runs the cells it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { openReference } from '../../checkpoint/expand-kv.ts';
import { Executor } from '../../model/executor.ts';
import { baseRun } from './base-run.ts';
import {
  ownLane,
  receivedCells,
  type SentWork,
  type SweepLane,
  type SweepReply,
  type SweepTask,
} from './sweep-lanes.ts';

const port = parentPort;
if (!port) throw new Error('sweep-worker runs in a worker thread');
const work: SentWork = workerData;
const lane = openLane();
// The error is reported with the first task, not as an unhandled rejection.
lane.catch(() => undefined);

async function openLane(): Promise<SweepLane> {
  const { policy, kernels, threads, tokens, clean, reads } = work;
  const executor = new Executor({ checkpoint: await openReference(work.checkpoint), policy, kernels, threads });
  const base = await baseRun(executor, tokens, clean.keys());
  return ownLane({ base, cells: receivedCells(work, executor), clean, reads });
}

port.on('message', async ({ cells, mode }: SweepTask) => {
  let reply: SweepReply;
  try {
    reply = { logits: await (await lane).run(cells, mode) };
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) };
  }
  const buffers = 'logits' in reply ? reply.logits.map(({ buffer }) => buffer) : [];
  port.postMessage(
    reply,
    buffers.filter((buffer) => buffer instanceof ArrayBuffer),
  );
});
