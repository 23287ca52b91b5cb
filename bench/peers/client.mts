/** A worker process of `compare.mts`, started, told to run, and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { errorSchema, type Ran, type Ready, ranSchema, readySchema, type WorkerRequest } from './protocol.mts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const python = here('.venv/bin/python');
const onNode = new Set(['kvlens', 'onnxruntime-node']);

/** @throws Error that says what to run, if the peers were not set up. */
export function checkPeers(): void {
  if (!existsSync(python)) throw new Error(`${python} is missing: bash bench/peers/setup.sh makes it`);
}

/** One running worker; it answers one line for each that it is given. */
export class Worker {
  readonly peer: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  /** Start the process; `ready` waits for it. Its own thread pools are held to the request's threads. */
  constructor(request: WorkerRequest) {
    this.peer = request.peer;
    const [command, args] = onNode.has(request.peer)
      ? [process.execPath, ['--import', 'tsx', here('worker.mts')]]
      : [python, [here('worker.py')]];
    const threads = String(request.threads);
    this.child = spawn(command, args, {
      stdio: ['pipe', 'pipe', process.env.KVLENS_BENCH_STDERR ? 'inherit' : 'ignore'],
      env: { ...process.env, OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads, ORT_DISABLE_TELEMETRY: '1' },
    });
    // A worker that died is reported by the missing answer.
    this.child.stdin!.on('error', () => {});
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.send(request);
  }

  ready(): Promise<Ready> {
    return this.answer(readySchema);
  }

  /** Run the case once. */
  go(): Promise<Ran> {
    this.send('go');
    return this.answer(ranSchema);
  }

  /** End the worker and wait for it. */
  async close(): Promise<void> {
    const { child } = this;
    child.stdin!.end();
    if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.on('exit', resolve));
  }

  private send(message: unknown): void {
    this.child.stdin!.write(`${JSON.stringify(message)}\n`);
  }

  private async answer<T>(schema: z.ZodType<T>): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.peer}: the worker ended without an answer; KVLENS_BENCH_STDERR=1 shows why`);
    const told: unknown = JSON.parse(value);
    const failed = errorSchema.safeParse(told);
    if (failed.success) throw new Error(`${this.peer}: ${failed.data.error.split('\n')[0]}`);
    return schema.parse(told);
  }
}
