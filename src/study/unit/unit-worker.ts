/** The script of a worker thread that runs work units. */
import { parentPort, workerData } from 'node:worker_threads';
import { serveJobs } from '../../divergence/worker-pool.ts';
import { openUnitRunner } from './unit-runner.ts';

serveJobs(parentPort, openUnitRunner(workerData));
