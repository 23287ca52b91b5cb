/** A step runs under a kernel of the preset or under one of its own; equal kernels share their sessions. */
import { afterAll, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { BuiltGraph } from '../../src/graph/builder.ts';
import { selectHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor, type StepKernel } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
afterAll(() => removeCheckpoint(dir));

/** Remembers which graphs it loaded. */
class Counting extends Executor {
  readonly loaded: string[] = [];

  override openGraph(graph: BuiltGraph, kernel: StepKernel) {
    this.loaded.push(String(graph.model.graph?.name));
    return super.openGraph(graph, kernel);
  }
}

async function open(preset: string): Promise<Counting> {
  const checkpoint = await openCheckpoint(dir);
  return new Counting({ checkpoint, policy: resolvePolicy('fp32'), kernels: resolveKernels(preset), threads: 1 });
}

test('a kernel given as an object computes what a preset of that kernel computes, at every hook', async () => {
  const tokens = [1, 17, 5, 88, 42];
  const own = await open('ort');
  const preset = await open('ort-unpacked');
  const hooks = new Set(selectHooks('all', own.config).map(({ name }) => name));
  const run = async (executor: Executor, kernel: StepKernel) => {
    const cache = executor.newCache(tokens.length);
    await forward(executor, { tokens: tokens.slice(0, 4), start: 0, cache, kernel: 'prefill', capture: { hooks } });
    return (await forward(executor, { tokens: tokens.slice(4), start: 4, cache, kernel, capture: { hooks } }))
      .activations;
  };
  // Both presets prefill to the same bits: the packing of weights changes one-row steps alone.
  const found = await run(own, { prepack: false, attention: 'per-head' });
  const plain = await run(own, 'decode');
  const expected = await run(preset, 'decode');
  const unlike = (a: typeof found, b: typeof found) =>
    [...hooks].filter((hook) => !Buffer.from(a.get(hook)!.data.buffer).equals(Buffer.from(b.get(hook)!.data.buffer)));
  expect(unlike(found, expected)).toEqual([]);
  expect(unlike(found, plain)).not.toEqual([]);
  await own.release();
  await preset.release();
});

test('equal kernels share sessions, whatever object they are and in whatever order their keys stand', async () => {
  const executor = await open('ort');
  const kernels: StepKernel[] = ['prefill', 'decode', { attention: 'per-head', prepack: true }];
  kernels.push({ prepack: true, attention: 'per-head' });
  for (const kernel of kernels) {
    await forward(executor, { tokens: [1, 2], start: 0, cache: executor.newCache(2), kernel, capture: noCapture });
  }
  expect(executor.loaded).toEqual(['embed', 'block_0', 'block_1', 'unembed']);
  await executor.release();
});

const noCapture = { hooks: new Set<string>() };
