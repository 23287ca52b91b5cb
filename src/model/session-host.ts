/**
 * Sessions in threads of their own, so that one stage can load while another computes. Loading and running are synchronous
 * inside the runtime: two sessions of one thread never overlap.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { RunError } from '../errors.ts';
import type { BuiltGraph } from '../graph/builder.ts';
import { encodeModel } from '../graph/onnx/codec.ts';
import { Tensor } from './onnxruntime.ts';
import { checkFeeds, type Feeds, type LoadedGraph, type SessionOptions } from './session.ts';

/** A tensor as it crosses threads. */
export interface SentTensor {
  type: Tensor.Type;
  dims: readonly number[];
  data: Float32Array | Float64Array | BigInt64Array | Uint8Array;
}

/** What a thread is asked; `session` numbers its sessions. */
export type HostRequest =
  | { kind: 'open'; session: number; bytes: Uint8Array; options: SessionOptions }
  | { kind: 'run'; session: number; feeds: Record<string, SentTensor>; fetches: readonly string[] }
  | { kind: 'release'; session: number };

/** What it answers. */
export type HostReply = { outputs: Record<string, SentTensor> } | { error: string };

/** The thread's script: beside this file in the build; sources are run by tools that threads do not inherit. */
function workerFile(): string | null {
  if (!import.meta.url.endsWith('.js')) return null;
  const file = fileURLToPath(new URL('./session-worker.js', import.meta.url));
  return existsSync(file) ? file : null;
}

/** Threads that hold sessions. */
export class SessionHost {
  private readonly threads: SessionThread[];

  private constructor(file: string, threads: number) {
    this.threads = Array.from({ length: threads }, () => new SessionThread(file));
  }

  /** Start `threads` threads; null where the build is not there to run them. */
  static start(threads: number): SessionHost | null {
    const file = workerFile();
    return file === null ? null : new SessionHost(file, threads);
  }

  /** Load a graph in thread `lane` (modulo their number). @throws RunError if the runtime refuses it. */
  open(graph: BuiltGraph, options: SessionOptions, lane: number): Promise<LoadedGraph> {
    return this.threads[lane % this.threads.length].open(graph, options);
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.close()));
  }
}

/** One thread; it answers in the order it is asked. */
class SessionThread {
  private readonly worker: Worker;
  private readonly waiting: { resolve: (reply: HostReply) => void; reject: (error: Error) => void }[] = [];
  private sessions = 0;

  constructor(file: string) {
    // The flags this process was started with are about its own script.
    this.worker = new Worker(file, { execArgv: [] });
    // A thread that waits for work does not keep the process alive.
    this.worker.unref();
    this.worker.on('message', (reply: HostReply) => this.waiting.shift()?.resolve(reply));
    this.worker.on('error', (error: Error) => {
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
  }

  async open(graph: BuiltGraph, options: SessionOptions): Promise<LoadedGraph> {
    const session = this.sessions++;
    const bytes = encodeModel(graph.model);
    const name = graph.model.graph?.name ?? '';
    await this.ask({ kind: 'open', session, bytes, options }, name);
    const inputs = new Set(graph.inputs);
    return {
      graph,
      run: async (feeds, fetches) => {
        checkFeeds(feeds, inputs, name);
        const sent = send(feeds);
        const outputs = await this.ask({ kind: 'run', session, feeds: sent.tensors, fetches }, name, sent.buffers);
        return Object.fromEntries(Object.entries(outputs).map(([output, tensor]) => [output, received(tensor)]));
      },
      release: async () => {
        await this.ask({ kind: 'release', session }, name);
      },
    };
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private async ask(
    request: HostRequest,
    name: string,
    buffers: ArrayBuffer[] = [],
  ): Promise<Record<string, SentTensor>> {
    // Something is awaited: until it is answered, the thread keeps the process alive.
    this.worker.ref();
    const reply = await new Promise<HostReply>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.worker.postMessage(request, buffers);
    });
    if (this.waiting.length === 0) this.worker.unref();
    if ('error' in reply) throw new RunError(`${name}: ${reply.error}`);
    return reply.outputs;
  }
}

/**
 * Tensors as messages. Data is copied, because it may be a view of a cache and a message would carry the whole cache; or,
 * where the sender has no more use for it, moved.
 */
export function send(
  tensors: Feeds,
  how: 'copy' | 'move' = 'copy',
): { tensors: Record<string, SentTensor>; buffers: ArrayBuffer[] } {
  const buffers: ArrayBuffer[] = [];
  const sent = Object.entries(tensors).map(([name, { type, dims, data }]): [string, SentTensor] => {
    if (
      !(data instanceof Float32Array) &&
      !(data instanceof Float64Array) &&
      !(data instanceof BigInt64Array) &&
      !(data instanceof Uint8Array)
    ) {
      throw new Error(`${name}: a tensor of type ${type} is not sent to threads`);
    }
    const whole = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength;
    const sent = how === 'move' && whole ? data : data.slice();
    if (sent.buffer instanceof ArrayBuffer) buffers.push(sent.buffer);
    return [name, { type, dims, data: sent }];
  });
  return { tensors: Object.fromEntries(sent), buffers };
}

/** A message as a tensor. */
export function received({ type, dims, data }: SentTensor): Tensor {
  if (data instanceof Float32Array) return new Tensor('float32', data, dims);
  if (data instanceof Float64Array) return new Tensor('float64', data, dims);
  if (data instanceof BigInt64Array) return new Tensor('int64', data, dims);
  if (type === 'bool') return new Tensor('bool', data, dims);
  throw new Error(`a tensor of type ${type} came from a thread`);
}
