/** A worker thread's script: attributes the prompts it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../../divergence/worker-pool.ts';
import { type AttributionRunnerConfig, openAttributionRunner } from './runner.ts';

const config: AttributionRunnerConfig = workerData;
serveJobs(parentPort, openAttributionRunner(config));
