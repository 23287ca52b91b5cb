/** Kernels that sum in another order: the same mathematics, rounded where they say, and nothing that depends on the length. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { selectHooks } from '../../src/graph/hooks.ts';
import { type ClassKernel, type GraphKernel, operationClasses, resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor, type StepKernel } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { relativeDistance } from '../reference/compare.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const models: Record<string, TinyOptions> = {
  'llama, multi-head': {},
  'mistral, grouped-query, window 8': { modelType: 'mistral', attention: 'gqa', seed: 2 },
  'gemma2, grouped-query, window 8, soft-caps': { modelType: 'gemma2', attention: 'gqa', seed: 3 },
  'qwen2, multi-query, biases': { modelType: 'qwen2', attention: 'mqa', seed: 4 },
  'llama, heads of 256': { attention: 'gqa', headDim: 256, layers: 1, seed: 5 },
};
const dirs = new Map<string, string>();
beforeAll(() => {
  for (const [name, options] of Object.entries(models)) dirs.set(name, writeTinyCheckpoint(options));
});
afterAll(() => {
  for (const dir of dirs.values()) removeCheckpoint(dir);
});

const plain: GraphKernel = { attention: 'per-head', prepack: true };
const everyClass = (kernel: ClassKernel): GraphKernel => ({
  ...plain,
  classes: Object.fromEntries(operationClasses.map((name) => [name, kernel])),
});
const kernels: Record<string, GraphKernel> = {
  'three slices': everyClass({ slices: 3 }),
  'sixteen slices, stored': everyClass({ slices: 16, combine: 'storage' }),
  'doubled rows': everyClass({ rows: 'doubled' }),
  permuted: everyClass({ permute: 7 }),
  'permuted, sliced, doubled': everyClass({ permute: 7, slices: 5, rows: 'doubled' }),
  'chunks of 1 key': { ...plain, splitKv: 1 },
  'chunks of 4 keys': { ...plain, splitKv: 4 },
  'chunks of 7 keys, folded, doubled': {
    ...{ attention: 'folded', prepack: false, splitKv: 7 },
    classes: { values: { rows: 'doubled' }, scores: { permute: 1 } },
  },
  'a chunk longer than the sequence': { ...plain, splitKv: 64 },
};
// Longer than the window of 8, so that whole chunks of 4 are masked.
const tokens = Array.from({ length: 21 }, (_, i) => (i * 37 + 5) % 96);

async function open(model: string, precision: string): Promise<Executor> {
  const checkpoint = await openCheckpoint(dirs.get(model)!);
  return new Executor({ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels('ort'), threads: 1 });
}

/** Every hook of all tokens in one pass, and of the newest in a step of one row behind a plain prefill. */
async function passes(executor: Executor, kernel: StepKernel) {
  const capture = { hooks: new Set(selectHooks('all', executor.config).map(({ name }) => name)) };
  const n = tokens.length;
  const whole = await forward(executor, { tokens, start: 0, cache: executor.newCache(n), kernel, capture });
  const cache = executor.newCache(n);
  await forward(executor, { tokens: tokens.slice(0, -1), start: 0, cache, kernel: 'prefill', capture });
  const step = await forward(executor, { tokens: tokens.slice(-1), start: n - 1, cache, kernel, capture });
  return { whole: whole.activations, step: step.activations };
}

describe.each(Object.keys(models))('%s', (model) => {
  test('float64: every order gives the plain kernel’s values at every hook, in a pass and in a step', async () => {
    const executor = await open(model, 'fp64');
    const expected = await passes(executor, plain);
    const beyond: string[] = [];
    for (const [name, kernel] of Object.entries(kernels)) {
      const found = await passes(executor, kernel);
      for (const pass of ['whole', 'step'] as const) {
        expect(new Set(found[pass].keys())).toEqual(new Set(expected[pass].keys()));
        for (const [hook, activation] of found[pass]) {
          const distance = relativeDistance(activation, expected[pass].get(hook)!);
          if (!(distance <= 1e-12)) beyond.push(`${name}, ${pass}, ${hook}: ${distance}`);
        }
      }
    }
    expect(beyond).toEqual([]);
    await executor.release();
  });

  test('float32: every order but doubled rows changes bits of the step, so none is the plain kernel under another name', async () => {
    const executor = await open(model, 'fp32');
    const expected = await passes(executor, plain);
    for (const [name, kernel] of Object.entries(kernels)) {
      const { step } = await passes(executor, kernel);
      const logits = (activations: typeof step) => Buffer.from(activations.get('logits')!.data.buffer);
      const moved = relativeDistance(step.get('logits')!, expected.step.get('logits')!);
      expect(moved, name).toBeLessThan(1e-4);
      if (name !== 'doubled rows') expect(logits(step).equals(logits(expected.step)), name).toBe(false);
    }
    await executor.release();
  });
});
