/** The pool of threads, of the build: jobs as they are finished, what a failure and an interruption leave. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Pool } from '../../src/divergence/worker-pool.ts';
import { InputError } from '../../src/errors.ts';
import { ensureBuilt, temporaryFolder } from '../cli/kvlens.ts';

interface Job {
  name: string;
  milliseconds: number;
  fails?: 'input' | 'bug';
}

const dist = new URL('../../dist/divergence/worker-pool.js', import.meta.url);
const errors = new URL('../../dist/errors.js', import.meta.url);
const script = pathToFileURL(join(temporaryFolder(), 'worker.mjs'));
/** What a thread, and this one, do with a job: wait, then say who did it. */
const runner = `
  import { threadId } from 'node:worker_threads';
  import { InputError } from '${errors}';
  export const open = async () => ({
    run: async ({ name, milliseconds, fails }) => {
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      if (fails === 'input') throw new InputError(name + ' is bad', 'mend it');
      if (fails === 'bug') throw new Error(name + ' broke');
      return { name, thread: threadId };
    },
    close: async () => {},
  });
`;

interface Result {
  name: string;
  thread: number;
}
let openPool: typeof import('../../src/divergence/worker-pool.ts').openPool;
let open: () => Promise<{ run(job: Job): Promise<Result>; close(): Promise<void> }>;
beforeAll(async () => {
  ensureBuilt();
  writeFileSync(new URL('runner.mjs', script), runner);
  writeFileSync(
    script,
    `import { parentPort } from 'node:worker_threads';
     import { serveJobs } from '${dist}';
     import { open } from './runner.mjs';
     serveJobs(parentPort, open());`,
  );
  ({ openPool } = await import(dist.href));
  ({ open } = await import(new URL('runner.mjs', script).href));
});

let pool: Pool<Job, Result> | undefined;
afterEach(() => pool?.close());
function poolOf(workers: number): Pool<Job, Result> {
  pool = openPool<null, Job, Result>({ config: null, workers, open, script });
  return pool;
}
const job = (name: string, milliseconds: number, fails?: Job['fails']): Job => ({
  ...{ name, milliseconds },
  ...(fails === undefined ? {} : { fails }),
});

describe('runAsFinished', () => {
  test('takes each result when it is finished, with its job, and begins jobs in their order', async () => {
    const begun: string[] = [];
    function* jobs() {
      for (const each of [job('slow', 600), job('a', 20), job('b', 20), job('c', 20)]) {
        begun.push(each.name);
        yield each;
      }
    }
    const taken: Result[] = [];
    await poolOf(2).runAsFinished(jobs(), (result, { name }) => {
      expect(result.name).toBe(name);
      taken.push(result);
    });
    expect(begun).toEqual(['slow', 'a', 'b', 'c']);
    expect(taken.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'slow']);
    expect(new Set(taken.map(({ thread }) => thread)).size).toBe(2);
  });

  test('by one worker, this thread, in the order of the jobs', async () => {
    const taken: Result[] = [];
    await poolOf(1).runAsFinished([job('a', 30), job('b', 0)], (result) => void taken.push(result));
    expect(taken.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('jobs are asked for when a worker is free, not before', async () => {
    let asked = 0;
    const seen: number[] = [];
    function* jobs() {
      for (let i = 0; i < 6; i++) {
        asked += 1;
        yield job(`${i}`, 10);
      }
    }
    let taken = 0;
    await poolOf(2).runAsFinished(jobs(), () => {
      taken += 1;
      seen.push(asked - taken);
    });
    // Never more under way than there are workers.
    for (const ahead of seen) expect(ahead).toBeLessThanOrEqual(2);
    expect(taken).toBe(6);
  });

  test.each([
    ['input', InputError, 'bad is bad'],
    ['bug', Error, 'bad broke'],
  ] as const)(
    'after a failure (%s) no job is begun, what is under way is kept, and the error is told',
    async (fails, _, text) => {
      const taken: string[] = [];
      const jobs = [job('bad', 50, fails), job('under way', 400), job('never', 0)];
      const running = poolOf(2).runAsFinished(jobs, ({ name }) => void taken.push(name));
      await expect(running).rejects.toThrow(text);
      expect(taken).toEqual(['under way']);
    },
  );

  test('an error of input stays one, with its hint, through a thread', async () => {
    const error: unknown = await poolOf(2)
      .runAsFinished([job('x', 0, 'input')], () => undefined)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'InputError', message: 'x is bad', hint: 'mend it', exitCode: 3 });
  });

  test('what `take` throws ends the run like a failed job', async () => {
    const running = poolOf(2).runAsFinished([job('a', 0), job('b', 0), job('c', 0)], ({ name }) => {
      throw new Error(`the disk is full at ${name}`);
    });
    await expect(running).rejects.toThrow(/the disk is full at [ab]/);
  });

  test('interrupted, what is under way is finished and taken, and nothing else is begun', async () => {
    const interruption = new AbortController();
    const taken: string[] = [];
    const jobs = [job('a', 50), job('b', 300), job('never', 0), job('nor this', 0)];
    await poolOf(2).runAsFinished(
      jobs,
      ({ name }) => {
        taken.push(name);
        interruption.abort();
      },
      interruption.signal,
    );
    expect(taken).toEqual(['a', 'b']);
  });

  test('interrupted before it began, it begins nothing', async () => {
    await poolOf(2).runAsFinished([job('a', 0)], () => expect.unreachable(), AbortSignal.abort());
  });

  test('no jobs are no work', async () => {
    await expect(poolOf(2).runAsFinished([], () => expect.unreachable())).resolves.toBeUndefined();
  });
});
