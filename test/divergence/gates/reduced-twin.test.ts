/** A model too large to dump is judged by a twin with its operators. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { expandKeyValueHeads } from '../../../src/checkpoint/expand-kv.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { multisetDifference } from '../../../src/divergence/gates/optimized-graph.ts';
import { reducedTwin } from '../../../src/divergence/gates/reduced-twin.ts';
import { modelHooks } from '../../../src/graph/hooks.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { forward } from '../../../src/model/plans.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { gate, subject } from './subject.ts';

const dir = mkdtempSync(join(tmpdir(), 'kvlens-twin-'));
const model = writeTinyCheckpoint({ attention: 'gqa', dtype: 'BF16', layers: 3, headDim: 32 });
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
  removeCheckpoint(model);
});

test('the twin has the model’s operators in every stage, and runs', async () => {
  const checkpoint = await openCheckpoint(model);
  const options = { policy: resolvePolicy('fp16'), kernels: resolveKernels('folded'), threads: 1 };
  const original = new Executor({ ...options, checkpoint });
  const twin = new Executor({ ...options, checkpoint: reducedTwin(checkpoint, dir, options.kernels) });
  const hooks = new Set(modelHooks({ layers: 2, modelType: 'llama' }).map(({ name }) => name));
  for (const stage of ['embed', { block: 0 }, { block: 1 }, 'unembed'] as const) {
    const expected = original.graph(stage, 'prefill', hooks).operators;
    expect(multisetDifference(twin.graph(stage, 'prefill', hooks).operators, expected)).toBe('');
  }
  const request = { tokens: [1, 2, 3], start: 0, cache: twin.newCache(3), kernel: 'prefill' } as const;
  const { logits } = await forward(twin, { ...request, capture: { hooks: new Set() } });
  expect(logits).toHaveLength(3 * 64);
  await twin.release();
});

test.each([
  ['Qwen2’s biases', { modelType: 'qwen2' }],
  ['Qwen3’s head norms', { modelType: 'qwen3' }],
  ['Gemma-2’s post-norms', { modelType: 'gemma2', tiedEmbeddings: true }],
] satisfies [string, TinyOptions][])('a twin of an expanded model has %s', async (_, options) => {
  const stored = writeTinyCheckpoint({ ...options, attention: 'gqa', headDim: 32 });
  const checkpoint = expandKeyValueHeads(await openCheckpoint(stored));
  const executors = [checkpoint, reducedTwin(checkpoint, dir, resolveKernels('ort'))].map(
    (each) =>
      new Executor({ checkpoint: each, policy: resolvePolicy('fp16'), kernels: resolveKernels('ort'), threads: 1 }),
  );
  const [original, twin] = executors.map((executor) => executor.graph({ block: 0 }, 'decode', new Set()).operators);
  expect(multisetDifference(twin, original)).toBe('');
  const request = { tokens: [1, 2, 3], start: 0, cache: executors[1].newCache(3), kernel: 'prefill' } as const;
  const { logits } = await forward(executors[1], { ...request, capture: { hooks: new Set() } });
  expect(logits).toHaveLength(3 * 64);
  await executors[1].release();
  removeCheckpoint(stored);
});

test('a twin is as large as its kernels have slices', async () => {
  const checkpoint = await openCheckpoint(model);
  const kernels = resolveKernels('split-k:100:storage');
  const options = { policy: resolvePolicy('fp16'), kernels, threads: 1 };
  const twin = new Executor({ ...options, checkpoint: reducedTwin(checkpoint, dir, kernels) });
  const expected = new Executor({ ...options, checkpoint }).graph({ block: 0 }, 'decode', new Set()).operators;
  expect(multisetDifference(twin.graph({ block: 0 }, 'decode', new Set()).operators, expected)).toBe('');
});

test('provenance of weights above 256 MB is measured on the twin, and says so', async () => {
  const right = await subject(model, 'fp16');
  const tensors = new Map(right.checkpoint.tensors);
  const [name, tensor] = [...tensors][0];
  tensors.set(name, { ...tensor, bytes: 300 * 1024 * 1024 }); // only the declared size is large: nothing may read it
  const result = await gate('provenance', {
    ...right,
    checkpoint: { ...right.checkpoint, tensors },
    maxSteps: 0,
    prompt: right.prompt,
    open: (overrides) => new Executor({ ...right, ...overrides }),
  });
  expect(result).toMatchObject({ passed: true, scope: expect.stringMatching(/shape-reduced twin/) });
});
