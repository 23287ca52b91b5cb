/** `kvlens patch` as a process: the contract, workers, Ctrl-C and --resume. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { results } from '../../src/cli/contract.ts';
import { displayWidth } from '../../src/report/terminal/layout.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const model = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 });
afterAll(() => removeCheckpoint(model));
beforeAll(ensureBuilt);
const env = { KVLENS_CACHE: join(folder, 'cache') };
const prompts = join(folder, 'prompts.jsonl');
const lines = Array.from({ length: 8 }, (_, i) => JSON.stringify({ tokens: [1, 3 + i, 40 + i, 9] }));
writeFileSync(prompts, `${lines.join('\n')}\n`);
const given = (spec: string, ...more: string[]) => [
  'patch',
  model,
  spec,
  '--prompts',
  prompts,
  '--ignore-eos',
  ...more,
];

test('--json prints the contract: the four cells of the 2×2', async () => {
  const run = join(folder, 'run-json');
  const arguments_ = given('two-by-two', '--max-new-tokens', '20', '--out', run, '--json', '--quiet');
  const { code, stdout, stderr } = await kvlens(arguments_, { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const found = results.patch.parse(JSON.parse(stdout));
  expect(found.cells.map(({ history, kernel, patch }) => [history, kernel, patch])).toEqual([
    ['cached', 'decode', 'none'],
    ['cached', 'prefill', 'none'],
    ['recomputed', 'decode', 'history of layers 0–2'],
    ['recomputed', 'prefill', 'history of layers 0–2'],
  ]);
  expect(found.cells[3]).toMatchObject({ recovery: 1, exact: true });
  expect(found.cells[0]).toMatchObject({ recovery: 0, exact: false });
  expect(found).toMatchObject({
    run,
    prompts: 8,
    steps: 8 * 19,
    patchedSteps: 8 * 3,
    gates: { passed: true, failed: [] },
  });
  expect(existsSync(join(run, 'patches.arrow'))).toBe(true);
});

test('the terminal shows the 2×2 with its gates, within 80 columns, the answer last', async () => {
  const arguments_ = given('two-by-two', '--max-new-tokens', '20', '--out', join(folder, 'run-text'), '--quiet');
  const { code, stdout } = await kvlens(arguments_, { env });
  expect(code).toBe(0);
  const text = stdout.trimEnd().split('\n');
  for (const line of text.slice(0, -1)) expect(displayWidth(line)).toBeLessThanOrEqual(80);
  expect(stdout).toMatch(/decode kernel +prefill kernel\n +step {2}cached +0 \(the cached arm\)/);
  expect(stdout).toMatch(/recomputed .* 1 = ○\n/);
  expect(stdout).toMatch(/R = 1 at the patched step is by construction/);
  expect(stdout).toMatch(/✓ patch-self {2}✓ patch-full/);
  expect(text.at(-1)).toMatch(/^ {2}look /);
});

test('interrupted by Ctrl-C and resumed, by two workers or one, the files have the bytes of one run', async () => {
  const options = ['--max-new-tokens', '48', '--quiet'];
  const whole = join(folder, 'whole');
  expect((await kvlens(given('kv-by-position', ...options, '--workers', '1', '--out', whole), { env })).code).toBe(0);
  const resumed = join(folder, 'resumed');
  const arguments_ = given('kv-by-position', ...options, '--workers', '2', '--out', resumed);
  const stopped = await kvlens(arguments_, {
    env,
    started: (child) => {
      const poll = setInterval(() => {
        const journal = join(resumed, 'journal.jsonl');
        // One finished prompt after the line with the identity.
        if (!existsSync(journal) || readFileSync(journal, 'utf8').split('\n').length < 3) return;
        clearInterval(poll);
        child.kill('SIGINT');
      }, 5);
    },
  });
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toMatch(
    /^kvlens: interrupted after \d of 8 prompts; they are in .*, and --resume --out .* goes on$/m,
  );
  const refused = await kvlens(arguments_, { env });
  expect(refused.stderr).toMatch(/the folder is not empty/);
  const other = await kvlens([...arguments_, '--resume', '--decode-rows', '2'], { env });
  expect(other).toMatchObject({ code: 3, stderr: expect.stringMatching(/another run's: decodeRows was 1, is 2/) });
  expect((await kvlens([...arguments_, '--resume'], { env })).code).toBe(0);
  expect(readdirSync(resumed).sort()).toEqual(readdirSync(whole).sort());
  for (const file of readdirSync(resumed)) {
    const [left, right] = [whole, resumed].map((run) => readFileSync(join(run, file)));
    if (file !== 'manifest.json') expect(left.equals(right), file).toBe(true);
  }
  const identity = (run: string) => JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8')).identity;
  expect(identity(resumed)).toEqual(identity(whole));
});
