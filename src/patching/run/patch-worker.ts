/** A worker thread's script: patches the prompts it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../divergence/worker-pool.ts';
import { openPatchRunner, type PatchRunnerConfig } from './patch-runner.ts';

const config: PatchRunnerConfig = workerData;
serveJobs(parentPort, openPatchRunner(config));
