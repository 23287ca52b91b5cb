/** A thread that runs cells of a sweep: its own executor, the same base run. */
import { parentPort, workerData } from 'node:worker_threads';
import { openReference } from '../../checkpoint/expand-kv.ts';
import { serveJobs } from '../../divergence/worker-pool.ts';
import { findHook } from '../../graph/hooks.ts';
import { Executor } from '../../model/executor.ts';
import { baseRun } from './base-run.ts';
import { type SentWork, type SweepRunner, sweepRunner } from './sweep-runner.ts';

async function open(work: SentWork): Promise<SweepRunner> {
  const { policy, kernels, threads, tokens, clean, reads } = work;
  const executor = new Executor({ checkpoint: await openReference(work.checkpoint), policy, kernels, threads });
  const base = await baseRun(executor, tokens, clean.keys());
  const cells = work.cells.map(({ hook, at }) => ({ hook: findHook(hook, executor.config)!, at }));
  return sweepRunner({ base, cells, clean, reads });
}

serveJobs(parentPort, open(workerData));
