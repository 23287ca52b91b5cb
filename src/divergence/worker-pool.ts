/** Run a job per prompt in worker threads, each owning its sessions; hand the results back in the order of the jobs. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type MessagePort, Worker } from 'node:worker_threads';
import { type ExitCode, exitCodes, InputError, KvlensError } from '../errors.ts';

/** Runs jobs one after the other; opened once per thread. */
export interface Runner<Job, Result> {
  run(job: Job): Promise<Result>;
  close(): Promise<void>;
  /** Memory of a result that a worker hands over instead of copying it. */
  moved?(result: Result): ArrayBuffer[];
}

/** What a worker answers. */
type WorkerReply<Result> =
  | { result: Result }
  | { error: { message: string; hint?: string; exitCode: ExitCode | null } };

/** What a pool runs. Configuration, jobs and results cross threads: they are plain data. */
export interface PoolOptions<Config, Job, Result> {
  config: Config;
  workers: number;
  open(config: Config): Promise<Runner<Job, Result>>;
  /** The worker's script in the build, which serves the same `open`. */
  script: URL;
}

/** Results that may wait, finished, for an earlier one: bounds memory. */
const aheadPerWorker = 3;

export interface Pool<Job, Result> {
  /** Run all jobs; `take` is called in their order. Stops handing out jobs when `signal` fires. */
  runInOrder(jobs: readonly Job[], take: (result: Result) => void, signal?: AbortSignal): Promise<void>;
  /**
   * Run all jobs, begun in their order; `take` is called with each as it is finished. Stops handing out jobs when `signal`
   * fires; what is under way is finished.
   */
  runAsFinished(jobs: Iterable<Job>, take: (result: Result, job: Job) => void, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** A pool of `workers` threads; one worker runs in this thread. */
export function openPool<Config, Job, Result>(options: PoolOptions<Config, Job, Result>): Pool<Job, Result> {
  const { config, workers, open } = options;
  const file = workerFile(options.script);
  const lanes: Runner<Job, Result>[] =
    workers > 1 && file !== null
      ? Array.from({ length: workers }, () => new ThreadLane<Config, Job, Result>(file, config))
      : [new OwnLane(open(config))];
  return {
    runInOrder: (jobs, take, signal) => runInOrder(lanes, jobs, take, signal),
    runAsFinished: (jobs, take, signal) => runAsFinished(lanes, jobs, take, signal),
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.close()));
    },
  };
}

/** Beside the module that names it in the build; sources are run by tools that threads do not inherit. */
function workerFile(script: URL): string | null {
  if (!import.meta.url.endsWith('.js')) return null;
  const file = fileURLToPath(script);
  return existsSync(file) ? file : null;
}

async function runInOrder<Job, Result>(
  lanes: readonly Runner<Job, Result>[],
  jobs: readonly Job[],
  take: (result: Result) => void,
  signal?: AbortSignal,
): Promise<void> {
  const finished = new Map<number, { result: Result }>();
  let next = 0;
  let taken = 0;
  let failure: unknown;
  const waiting: (() => void)[] = [];
  const wake = () => {
    for (const resume of waiting.splice(0)) resume();
  };
  const work = async (lane: Runner<Job, Result>) => {
    while (next < jobs.length && !signal?.aborted && failure === undefined) {
      if (next >= taken + lanes.length * aheadPerWorker) {
        await new Promise<void>((resolve) => waiting.push(resolve));
        continue;
      }
      const at = next++;
      finished.set(at, { result: await lane.run(jobs[at]) });
      for (let ready = finished.get(taken); ready; ready = finished.get(taken)) {
        finished.delete(taken);
        taken += 1;
        take(ready.result);
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

async function runAsFinished<Job, Result>(
  lanes: readonly Runner<Job, Result>[],
  jobs: Iterable<Job>,
  take: (result: Result, job: Job) => void,
  signal?: AbortSignal,
): Promise<void> {
  const rest = jobs[Symbol.iterator]();
  const failures: unknown[] = [];
  const work = async (lane: Runner<Job, Result>) => {
    while (failures.length === 0 && !signal?.aborted) {
      const { value: job, done } = rest.next();
      if (done) return;
      take(await lane.run(job), job);
    }
  };
  const guarded = lanes.map((lane) =>
    work(lane).catch((error: unknown) => {
      failures.push(error);
    }),
  );
  await Promise.all(guarded);
  if (failures.length > 0) throw failures[0];
}

/** Runs jobs in this thread. */
class OwnLane<Job, Result> implements Runner<Job, Result> {
  private readonly runner: Promise<Runner<Job, Result>>;

  constructor(runner: Promise<Runner<Job, Result>>) {
    this.runner = runner;
    // Reported with the first job, not as an unhandled rejection.
    runner.catch(() => undefined);
  }

  async run(job: Job): Promise<Result> {
    // Sessions run synchronously: let signals and progress through between jobs.
    await new Promise((resolve) => setImmediate(resolve));
    return (await this.runner).run(job);
  }

  async close(): Promise<void> {
    const runner = await this.runner.catch(() => null);
    await runner?.close();
  }
}

/** Runs jobs in a thread of its own, one at a time. */
class ThreadLane<Config, Job, Result> implements Runner<Job, Result> {
  private readonly worker: Worker;

  constructor(file: string, config: Config) {
    // The flags this process was started with are about its own script.
    this.worker = new Worker(file, { workerData: config, execArgv: [] });
    this.worker.setMaxListeners(0);
  }

  run(job: Job): Promise<Result> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.worker.off('message', onMessage);
        this.worker.off('error', onError);
        settle();
      };
      const onError = (error: Error) => finish(() => reject(error));
      const onMessage = (reply: WorkerReply<Result>) =>
        finish(() => {
          if ('result' in reply) resolve(reply.result);
          else reject(revive(reply.error));
        });
      this.worker.on('message', onMessage);
      this.worker.on('error', onError);
      this.worker.postMessage(job);
    });
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}

function revive({ message, hint, exitCode }: Extract<WorkerReply<never>, { error: unknown }>['error']): Error {
  if (exitCode === null) return new Error(message);
  return exitCode === exitCodes.input ? new InputError(message, hint) : new KvlensError(message, exitCode, hint);
}

/** The whole of a worker's script: answer every job on `port`. */
export function serveJobs<Job, Result>(port: MessagePort | null, runner: Promise<Runner<Job, Result>>): void {
  if (!port) throw new Error('a worker script runs in a worker thread');
  // The error is reported with the first job, not as an unhandled rejection.
  runner.catch(() => undefined);
  port.on('message', async (job: Job) => {
    const reply = await answer(runner, job);
    const moved = 'result' in reply ? ((await runner).moved?.(reply.result) ?? []) : [];
    port.postMessage(reply, moved);
  });
}

async function answer<Job, Result>(runner: Promise<Runner<Job, Result>>, job: Job): Promise<WorkerReply<Result>> {
  try {
    return { result: await (await runner).run(job) };
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
