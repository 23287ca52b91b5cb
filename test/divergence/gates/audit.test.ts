/** Audits: fresh processes, batches and threads; kept per machine, quoted by runs, absent when damaged. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { cacheFolder } from '../../../src/divergence/gates/audit-cache.ts';
import { runInFreshProcess } from '../../../src/divergence/gates/fresh-process.ts';
import { audit, findAudit, gateNames, runGates } from '../../../src/divergence/gates/index.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { gate, subject } from './subject.ts';

let model = '';
let cache = '';
beforeAll(() => {
  model = writeTinyCheckpoint({ attention: 'gqa', dtype: 'F16' });
});
afterAll(() => removeCheckpoint(model));
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'kvlens-cache-'));
  process.env.KVLENS_CACHE = cache;
});
afterEach(() => {
  rmSync(cache, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});

const entries = () => readdirSync(join(cache, 'audits'));

test('an audit passes every gate, is kept, and a run quotes it by hash', async () => {
  const judged = await subject(model, 'fp16');
  const before = await runGates(judged, 'run', ['repeat', 'batch-threads']);
  expect(before.map(({ scope }) => scope).join()).toMatch(/fresh process: not run.*effects: see kvlens audit/);

  const result = await audit(judged);
  expect(result.gates.filter(({ passed }) => !passed)).toEqual([]);
  expect(result).toMatchObject({ passed: true, hash: expect.stringMatching(/^[0-9a-f]{12}$/) });
  expect(result.gates.map(({ name }) => name)).toEqual([...gateNames]);
  expect(result.gates.at(-1)?.measured).toMatch(
    /batch 2 of one sequence: \d+ of [\d,]+ elements differ.*; batch 2 of two: .*; 2 threads against 1: /,
  );

  const after = await runGates(judged, 'run', ['repeat', 'batch-threads']);
  expect(after.map(({ passed }) => passed)).toEqual([true, true]);
  for (const { scope } of after) expect(scope).toContain(`audit ${result.hash}`);
});

test('an audit speaks for one policy, preset and thread count only', async () => {
  const judged = await subject(model, 'fp16');
  await audit(judged);
  expect(await findAudit(judged)).not.toBeNull();
  expect(await findAudit(await subject(model, 'bf16'))).toBeNull();
  expect(await findAudit({ ...judged, threads: 2 })).toBeNull();
  expect(await findAudit({ ...judged, prompt: { id: 'other', tokens: [1, 2] } })).not.toBeNull();
});

test('a run does not pass the repeat gate that its audit failed', async () => {
  const judged = await subject(model, 'fp32');
  const otherPolicy = (await subject(model, 'fp16')).policy;
  const failed = await audit({ ...judged, fresh: (request) => runInFreshProcess({ ...request, policy: otherPolicy }) });
  expect(failed.passed).toBe(false);
  const result = await gate('repeat', judged);
  expect(result).toMatchObject({ passed: false, measured: expect.stringMatching(/\(audit\)/) });
});

test('a damaged, edited or unreadable entry counts as absent', async () => {
  const judged = await subject(model, 'fp16');
  const { passed } = await audit(judged);
  expect(passed).toBe(true);
  const [name] = entries();
  expect(entries()).toHaveLength(1); // nothing temporary is left
  const file = join(cache, 'audits', name);
  const text = readFileSync(file, 'utf8');
  for (const damaged of [text.slice(0, 200), '', '{}', text.replace('0 of', '1 of')]) {
    writeFileSync(file, damaged);
    expect(await findAudit(judged)).toBeNull();
  }
  writeFileSync(file, text);
  expect(await findAudit(judged)).not.toBeNull();
  rmSync(file);
  mkdirSync(file);
  expect(await findAudit(judged)).toBeNull();
});

test('a cache that cannot be written costs the entry, not the audit', async () => {
  writeFileSync(join(cache, 'audits'), 'a file where the folder should be');
  expect((await audit(await subject(model, 'fp16'))).passed).toBe(true);
});

test('a fresh process that fails is one clear line', async () => {
  const judged = await subject(model, 'fp16');
  const broken = {
    ...judged,
    fresh: () =>
      runInFreshProcess({
        checkpoint: { dir: join(model, 'missing'), name: 'missing', expandedKv: false },
        policy: judged.policy,
        kernels: judged.kernels,
        threads: 1,
        decodeRows: 1,
        tokens: [1],
        promptLength: 1,
      }),
  };
  await expect(gate('repeat', broken, 'audit')).rejects.toThrow(
    /fresh process of gate repeat ended with code 1: .*missing/,
  );
});

test('the cache lies where each system keeps caches; KVLENS_CACHE overrides', () => {
  expect(cacheFolder({ KVLENS_CACHE: 'elsewhere', HOME: 'home' }, 'linux')).toBe('elsewhere');
  expect(cacheFolder({ XDG_CACHE_HOME: 'xdg', HOME: 'home' }, 'linux')).toBe(join('xdg', 'kvlens'));
  expect(cacheFolder({ HOME: 'home' }, 'linux')).toBe(join('home', '.cache', 'kvlens'));
  expect(cacheFolder({ HOME: 'home' }, 'darwin')).toBe(join('home', 'Library', 'Caches', 'kvlens'));
  expect(cacheFolder({ LOCALAPPDATA: 'local' }, 'win32')).toBe(join('local', 'kvlens'));
});
