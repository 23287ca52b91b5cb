/** Every gate holds under kernels that sum in another order: presets and JSON, in the decode steps or in both arms. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { audit, runGates } from '../../../src/divergence/gates/index.ts';
import { parseKernels, resolveKernels } from '../../../src/graph/kernels.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { gate, subject } from './subject.ts';

const models: Record<string, TinyOptions> = {
  llama: { headDim: 32 },
  mistral: { modelType: 'mistral', attention: 'gqa', dtype: 'BF16', seed: 2 },
  gemma2: { modelType: 'gemma2', attention: 'gqa', seed: 3 },
};
const dirs = new Map<string, string>();
let cache = '';
beforeAll(() => {
  for (const [name, options] of Object.entries(models)) dirs.set(name, writeTinyCheckpoint(options));
  cache = mkdtempSync(join(tmpdir(), 'kvlens-cache-'));
  process.env.KVLENS_CACHE = cache;
});
afterAll(() => {
  for (const dir of dirs.values()) removeCheckpoint(dir);
  rmSync(cache, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});

// Longer than a chunk of 16, and than the windows of 8.
const prompt = { id: 'test', tokens: Array.from({ length: 19 }, (_, i) => (i * 37 + 5) % 96) };

/** Both arms sum in an order of their own: settings that no preset has. */
const inBothArms = parseKernels(
  {
    name: 'own',
    prefill: { classes: { qkv: { permute: 3 }, scores: { permute: 4 }, values: { permute: 5 }, mlp: { slices: 2 } } },
    decode: {
      classes: { scores: { slices: 2 }, values: { slices: 3, combine: 'storage' }, head: { rows: 'doubled' } },
    },
  },
  'test',
);

describe.each(Object.keys(models))('%s', (name) => {
  test.each(['fp16', 'fp32', 'bf16'])('%s: every gate, under every emulated preset', async (precision) => {
    for (const preset of ['split-k:8:fp32', 'split-k:8:storage', 'split-kv:16', 'split-kv:3', 'placebo:1']) {
      const judged = await subject(dirs.get(name)!, precision, {
        ...{ prompt, maxSteps: 3, kernels: resolveKernels(preset) },
      });
      const gates = await runGates(judged);
      expect(
        gates.filter(({ passed }) => !passed),
        preset,
      ).toEqual([]);
    }
  });

  test.each(['fp16', 'fp32'])(
    '%s: every gate, where the uncached arm is permuted and sliced too',
    async (precision) => {
      const judged = await subject(dirs.get(name)!, precision, { prompt, maxSteps: 3, kernels: inBothArms });
      expect((await runGates(judged)).filter(({ passed }) => !passed)).toEqual([]);
    },
  );
});

test('an audit runs a fresh process under kernels that only their data describes', async () => {
  const judged = await subject(dirs.get('gemma2')!, 'fp16', { prompt, maxSteps: 2, kernels: inBothArms });
  const { passed, gates } = await audit(judged);
  expect(gates.filter((each) => !each.passed)).toEqual([]);
  expect(passed).toBe(true);
});

test('keys in parts that depend on the length fail the prefix gate, in an uncached arm that has them', async () => {
  const kernels = parseKernels(
    { name: 'lengths', prefill: { classes: { values: { slices: 4 } } }, decode: {} },
    'test',
  );
  const judged = await subject(dirs.get('llama')!, 'fp32', { prompt, maxSteps: 3, kernels });
  expect(await gate('prefix', judged)).toMatchObject({
    passed: false,
    measured: expect.stringMatching(/attn\.hook_z/),
  });
});

test('no-op says that a split-KV kernel leaves the pattern without a patch point', async () => {
  const judged = await subject(dirs.get('llama')!, 'fp16', { prompt, kernels: resolveKernels('split-kv:16') });
  expect((await gate('no-op', judged)).scope).toContain('every hook that has one under these kernels');
});
