/** `kvlens patch` with a spec of the experiment `attribution`, as a process. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { results } from '../../src/cli/contract.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { ensureBuilt, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const model = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', seed: 4 });
afterAll(() => removeCheckpoint(model));
beforeAll(ensureBuilt);
const env = { KVLENS_CACHE: join(folder, 'cache') };
const file = (name: string, content: string) => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const lines = Array.from({ length: 4 }, (_, i) => JSON.stringify({ tokens: [1, 3 + i, 40 + i, 9] }));
const prompts = file('prompts.jsonl', `${lines.join('\n')}\n`);
const specFile = (name: string, fields: object) =>
  file(`${name}.json`, JSON.stringify({ experiment: 'attribution', name, maxSteps: 3, ...fields }));
const given = (spec: string, ...more: string[]) => [
  'patch',
  model,
  spec,
  '--prompts',
  prompts,
  '--ignore-eos',
  '--max-new-tokens',
  '8',
  '--quiet',
  ...more,
];

test('--json prints the contract: classes, places, layers, nulls; --limit goes before the spec’s prompts', async () => {
  const of = ['classes', 'places', 'amplification', 'placebo', 'random-ulp'];
  const spec = specFile('all', { of, seeds: 2, history: ['cached'], prompts: 2 });
  const run = join(folder, 'run');
  const options = ['--kernels', 'split-k:4:storage', '--json', '--out', run];
  const { code, stdout, stderr } = await kvlens(given(spec, ...options), { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const found = results.patch.parse(JSON.parse(stdout));
  expect(found).toMatchObject({ run, cells: [], prompts: 2, steps: 6, patchedSteps: 6, gates: { passed: true } });
  expect(found.classes.map(({ history, none }) => [history, none])).toEqual([['cached', 0]]);
  const [{ all, parts }] = found.classes;
  expect(parts.reduce((sum, { shapley }) => sum + Number(shapley), 0)).toBeCloseTo(Number(all), 10);
  expect(Number(found.places?.all)).toBeCloseTo(Number(all), 12);
  expect(found.amplification?.layers).toHaveLength(3);
  expect(found.nulls.map(({ null: name, seeds }) => [name, seeds])).toEqual([
    ['placebo', 2],
    ['random-ulp', 2],
  ]);
  for (const one of found.nulls) expect(Number(one.observed)).toBeCloseTo(Number(all), 12);
  const limited = await kvlens(given(spec, '--limit', '1', '--json', '--out', join(folder, 'limited')), { env });
  expect(results.patch.parse(JSON.parse(limited.stdout))).toMatchObject({ prompts: 1, steps: 3 });
});

test('two workers write the bytes of one', async () => {
  const spec = specFile('workers', { of: ['classes', 'amplification', 'placebo'], seeds: 2, history: ['recomputed'] });
  const runs = ['1', '2'].map((workers) => ({ workers, out: join(folder, `workers-${workers}`) }));
  for (const { workers, out } of runs)
    expect((await kvlens(given(spec, '--workers', workers, '--out', out), { env })).code).toBe(0);
  const [one, two] = runs.map(({ out }) => out);
  expect(readdirSync(two).sort()).toEqual(readdirSync(one).sort());
  for (const name of readdirSync(one)) {
    const [left, right] = [one, two].map((run) => readFileSync(join(run, name)));
    if (name !== 'manifest.json') expect(left.equals(right), name).toBe(true);
  }
});

test('a failed gate: exit code 1, and not one number', async () => {
  const kernels = { name: 'keys', prefill: { classes: { values: { slices: 3 } } }, decode: {} };
  const options = ['--kernels', file('keys.json', JSON.stringify(kernels)), '--precision', 'fp32'];
  const spec = specFile('fails', { of: ['classes'] });
  const { code, stdout } = await kvlens(given(spec, ...options, '--json', '--out', join(folder, 'fails')), { env });
  expect(code).toBe(1);
  const found = results.patch.parse(JSON.parse(stdout));
  expect(found).toMatchObject({ classes: [], places: null, amplification: null, nulls: [] });
  expect(found.gates.failed).toContain('no-class');
});

test('what does not fit is refused before anything is made', async () => {
  const out = join(folder, 'refused');
  const { code, stderr } = await kvlens(given('classes', '--decode-rows', '2', '--out', out), { env });
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: 'kvlens: --decode-rows: found 2, expected 1: spec classes is about steps of one row\n',
  });
  const places = await kvlens(given('places', '--precision', 'fp32', '--out', out), { env });
  expect(places).toMatchObject({ code: 2, stderr: expect.stringMatching(/^kvlens: --precision fp32: rounds nowhere/) });
  expect(existsSync(out)).toBe(false);
});
