/** A worker thread's script: runs the prompts of `diverge` it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { openPromptRunner, type RunnerConfig } from './prompt-runner.ts';
import { serveJobs } from './worker-pool.ts';

const config: RunnerConfig = workerData;
serveJobs(parentPort, openPromptRunner(config));
