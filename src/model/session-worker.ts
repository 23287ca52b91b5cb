/** A thread's script: loads, runs and releases sessions in the order it is asked. */
import { parentPort } from 'node:worker_threads';
import { InferenceSession, Tensor } from './onnxruntime.ts';
import { runtimeOptions } from './session.ts';
import { type HostReply, type HostRequest, received, send } from './session-host.ts';

const port = parentPort;
if (!port) throw new Error('session-worker runs in a worker thread');
const sessions = new Map<number, InferenceSession>();
let last: Promise<void> = Promise.resolve();

port.on('message', (request: HostRequest) => {
  last = last.then(() => answer(request));
});

async function answer(request: HostRequest): Promise<void> {
  try {
    const outputs = await perform(request);
    const { tensors, buffers } = send(outputs, 'move');
    reply({ outputs: tensors }, buffers);
  } catch (error) {
    reply({ error: error instanceof Error ? error.message.split('\n')[0] : String(error) });
  }
}

async function perform(request: HostRequest): Promise<Record<string, Tensor>> {
  if (request.kind === 'open') {
    sessions.set(request.session, await InferenceSession.create(request.bytes, runtimeOptions(request.options)));
    return {};
  }
  const session = sessions.get(request.session);
  if (!session) throw new Error(`session ${request.session} is not open`);
  if (request.kind === 'release') {
    sessions.delete(request.session);
    await session.release();
    return {};
  }
  const feeds = Object.fromEntries(Object.entries(request.feeds).map(([name, tensor]) => [name, received(tensor)]));
  const results = await session.run(feeds, request.fetches);
  return Object.fromEntries(
    Object.entries(results).filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor),
  );
}

function reply(message: HostReply, buffers: ArrayBuffer[] = []): void {
  port?.postMessage(message, buffers);
}
