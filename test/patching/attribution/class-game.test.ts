/** Attribution of the drift to operation classes: its gate, its axioms, and faults planted in one class. */
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { centredDistance } from '../../../src/divergence/metrics/logits.ts';
import { type KernelPreset, operationClasses, parseKernels, resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Arm } from '../../../src/model/arms.ts';
import { captureNothing, Executor } from '../../../src/model/executor.ts';
import { type ForcedRun, forcedRun } from '../../../src/patching/arms/forced-run.ts';
import {
  addGames,
  attributeClasses,
  type ClassGame,
  everySubset,
  gameGate,
  oneAtATime,
  orderDependentClasses,
  playClasses,
} from '../../../src/patching/attribution/class-game.ts';
import { everyClass, mixedKernel } from '../../../src/patching/attribution/class-kernels.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const prompt = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];
const models: Record<string, TinyOptions> = {
  llama: { headDim: 32 },
  mistral: { modelType: 'mistral', attention: 'gqa', seed: 2 },
  gemma2: { modelType: 'gemma2', attention: 'gqa', seed: 3 },
};
const dirs = new Map(Object.entries(models).map(([name, options]) => [name, writeTinyCheckpoint(options)]));
afterAll(() => {
  for (const dir of dirs.values()) removeCheckpoint(dir);
});

async function open(model: string, precision: string, kernels: KernelPreset): Promise<Executor> {
  const checkpoint = await openCheckpoint(dirs.get(model)!);
  return new Executor({ checkpoint, policy: resolvePolicy(precision), kernels, threads: 1 });
}

async function play(model: string, precision: string, kernels: KernelPreset, steps = 5) {
  const executor = await open(model, precision, kernels);
  const run = await forcedRun(executor, prompt, { steps, ignoreEos: true });
  const recomputed = await playClasses(executor, run, 'recomputed');
  const cached = await playClasses(executor, run, 'cached');
  await executor.release();
  return { run, recomputed, cached };
}

describe.each(Object.keys(models))('%s', (model) => {
  test.each([
    ['fp32', 'ort'],
    ['fp16', 'split-k:4:storage'],
    ['bf16', 'split-kv:4'],
    ['fp16', 'ort-unpacked'],
  ])(
    '%s, %s: no class gives no drift, to the bit, and Shapley values share out the whole',
    async (precision, preset) => {
      const { recomputed, cached } = await play(model, precision, resolveKernels(preset));
      for (const game of [recomputed, cached]) {
        expect(game.worth.size).toBe(64);
        expect(gameGate(game, 'f32')).toEqual({ passed: true, measured: 0 });
        const { shares, all, none } = attributeClasses(game);
        const total = shares.reduce((sum, { shapley }) => sum + shapley, 0);
        expect(Math.abs(total - (all - none))).toBeLessThan(1e-12 * Math.max(1, all));
      }
    },
  );

  test('all classes on the decode kernel are the cached arm', async () => {
    const executor = await open(model, 'fp32', resolveKernels('split-k:2:fp32'));
    const run = await forcedRun(executor, prompt, { steps: 4, ignoreEos: true });
    const game = await playClasses(executor, run, 'cached', { subsets: [everyClass] });
    const arm = Arm.cached(executor, run.tokens.length, 1);
    await arm.prefill(prompt, captureNothing);
    let expected = 0;
    for (const [step, n] of run.lengths.entries()) {
      const { logits } = await arm.step(run.tokens.slice(0, n), captureNothing);
      expected += centredDistance(logits, run.logits[step]);
    }
    expect(expected).toBeGreaterThan(0);
    expect(game.worth.get(everyClass)).toBe(expected);
    await executor.release();
  });
});

test('null player: where one class alone is sliced, and the rest packed, its value is the drift and the weights’ are 0', async () => {
  const kernels = parseKernels(
    { name: 'mlp', prefill: {}, decode: { classes: { mlp: { slices: 8, combine: 'storage' } } } },
    'test',
  );
  const { recomputed } = await play('llama', 'fp16', kernels);
  const { shares, all } = attributeClasses(recomputed);
  const of = Object.fromEntries(shares.map(({ operation, shapley }) => [operation, shapley]));
  // Packed weights sum alike whatever the number of rows.
  for (const name of ['qkv', 'o', 'head']) expect(of[name]).toBe(0);
  expect(of.mlp).toBeGreaterThan(0.9 * all);
  expect(orderDependentClasses(recomputed)).toContain('mlp');
});

test('the head’s worth is the worth of a step whose unembedding alone differs', async () => {
  const kernels = parseKernels(
    { name: 'h', prefill: {}, decode: { classes: { head: { slices: 8, combine: 'storage' } } } },
    't',
  );
  const { recomputed, cached } = await play('gemma2', 'fp16', kernels);
  const head = 1 << operationClasses.indexOf('head');
  expect(recomputed.worth.get(head)).toBeGreaterThan(0);
  // Logits write no history.
  expect(cached.worth.get(head)).toBe(recomputed.worth.get(head));
});

test('a step under a subset is the same whichever subsets are played with it', async () => {
  const executor = await open('mistral', 'fp32', resolveKernels('ort-unpacked'));
  const run = await forcedRun(executor, prompt, { steps: 3, ignoreEos: true });
  const whole = await playClasses(executor, run, 'recomputed');
  const some = await playClasses(executor, run, 'recomputed', { subsets: oneAtATime, keepSessions: true });
  for (const [subset, worth] of some.worth) expect(worth).toBe(whole.worth.get(subset));
  expect([...some.worth.keys()]).toEqual([...oneAtATime]);
  await executor.release();
});

test('a history that is not the uncached arm’s fails the gate', async () => {
  const executor = await open('llama', 'fp32', resolveKernels('ort'));
  const run = await forcedRun(executor, prompt, { steps: 3, ignoreEos: true });
  const stale: ForcedRun = { ...run, cache: executor.newCache(run.tokens.length) };
  stale.cache.copyFrom(run.cache, run.tokens.length);
  const { keys, values } = stale.cache.view(1, 4);
  stale.cache.write(1, 3, keys.slice(0, stale.cache.rowSize), values.slice(0, stale.cache.rowSize));
  const game = await playClasses(executor, stale, 'recomputed', { subsets: [0] });
  expect(gameGate(game, 'f32').passed).toBe(false);
  await executor.release();
});

test('float64: the gate holds to its tolerance', async () => {
  const { recomputed, cached } = await play('gemma2', 'fp64', resolveKernels('ort'), 3);
  for (const game of [recomputed, cached]) expect(gameGate(game, 'f64').passed).toBe(true);
});

test('games add up over prompts', () => {
  const game = (steps: number, factor: number): ClassGame => ({
    ...{ history: 'cached', steps },
    worth: new Map(everySubset.map((subset) => [subset, subset * factor])),
  });
  const sum = addGames([game(2, 1), game(3, 10)]);
  expect({ steps: sum.steps, worth: sum.worth.get(5) }).toEqual({ steps: 5, worth: 55 });
  // v is additive in the bits, so each class is worth its bit, per step.
  const { shares } = attributeClasses(sum);
  shares.forEach(({ shapley, oneIn, leaveOneOut }, i) => {
    for (const value of [shapley, oneIn, leaveOneOut]) expect(value).toBeCloseTo((11 * 2 ** i) / 5, 12);
  });
});

test('layouts that belong to no class cannot be attributed', () => {
  const kernels = parseKernels({ name: 'x', prefill: {}, decode: { attention: 'folded' } }, 'test');
  expect(() => mixedKernel(kernels, 1)).toThrow(/--kernels x: prefill and decode differ in attention or prepack/);
});

test.each(embeddedModels())(
  '$name, fp16, ort-unpacked: without a class there is no drift in a whole decode',
  async ({ name, dir }) => {
    const checkpoint = await openCheckpoint(dir, { name });
    const kernels = resolveKernels('ort-unpacked');
    const executor = new Executor({ checkpoint, policy: resolvePolicy('fp16'), kernels, threads: 1 });
    const given = Array.from({ length: 36 }, (_, i) => (i * 37 + 5) % 512);
    const run = await forcedRun(executor, given, { steps: 12, ignoreEos: true });
    const game = await playClasses(executor, run, 'cached', { subsets: [0, everyClass] });
    expect(game.worth.get(0)).toBe(0);
    expect(game.worth.get(everyClass)).toBeGreaterThan(0);
    await executor.release();
  },
);
