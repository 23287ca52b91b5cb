/** The nulls: the placebo is the uncached arm in another order, and random ulps are what they are said to be. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { centredDistance } from '../../../src/divergence/metrics/logits.ts';
import { type KernelPreset, operationClasses, parseKernels, resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { Arm } from '../../../src/model/arms.ts';
import { captureNothing, Executor } from '../../../src/model/executor.ts';
import { RandomStream } from '../../../src/numerics/random.ts';
import { forcedRun } from '../../../src/patching/arms/forced-run.ts';
import { summariseNull } from '../../../src/patching/nulls/distances.ts';
import { changedClasses, flipRates } from '../../../src/patching/nulls/flip-rates.ts';
import { permutedKernel, placebo } from '../../../src/patching/nulls/placebo.ts';
import { flip, randomUlp } from '../../../src/patching/nulls/random-ulp.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const prompt = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];
const models: Record<string, TinyOptions> = {
  llama: { headDim: 32 },
  mistral: { modelType: 'mistral', attention: 'gqa', seed: 2 },
  gemma2: { modelType: 'gemma2', attention: 'gqa', seed: 3 },
};
const dirs = new Map(Object.entries(models).map(([name, options]) => [name, writeTinyCheckpoint(options)]));
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const dir of dirs.values()) removeCheckpoint(dir);
});

async function start(model: string, precision: string, kernels: KernelPreset, steps = 6) {
  const checkpoint = await openCheckpoint(dirs.get(model)!);
  const executor = new Executor({ checkpoint, policy: resolvePolicy(precision), kernels, threads: 1 });
  executors.push(executor);
  return { executor, run: await forcedRun(executor, prompt, { steps, ignoreEos: true }) };
}
const onlyMlp = parseKernels(
  { name: 'mlp', prefill: {}, decode: { classes: { mlp: { slices: 8, combine: 'storage' } } } },
  'test',
);

test.each(Object.keys(models))('%s: a forced run is honest recomputation of its own greedy tokens', async (model) => {
  const { executor, run } = await start(model, 'fp16', resolveKernels('ort'));
  const honest = await forcedRun(executor, prompt, { steps: 6, ignoreEos: true, plan: 'recompute' });
  expect(run.tokens).toEqual(honest.tokens);
  expect(run.lengths).toEqual([11, 12, 13, 14, 15, 16]);
  for (const [step, logits] of run.logits.entries()) expect(logits).toEqual(honest.logits[step]);
  const { logits } = await Arm.uncached(executor, 14, 'recompute').prefill(run.tokens.slice(0, 14), captureNothing);
  expect(run.logits[3]).toEqual(logits);
  const given = await forcedRun(executor, prompt, { steps: 9, continuation: [3, 9] });
  expect(given.tokens).toEqual([...prompt, 3, 9]);
  await expect(forcedRun(executor, [], { steps: 2 })).rejects.toThrow(/leave no decode step/);
});

describe('K-permuted placebo', () => {
  test.each([
    ['llama', 'fp32'],
    ['mistral', 'fp16'],
    ['gemma2', 'bf16'],
  ])('%s, %s: the stand-in of two rows is the permuted arm, recomputed in full', async (model, precision) => {
    const { executor, run } = await start(model, precision, resolveKernels('ort'));
    const options = { seeds: [1, 2], classes: operationClasses };
    const found = await placebo(executor, run, options);
    expect(found).toEqual(await placebo(executor, run, { ...options, plan: 'recompute' }));
    expect(found.distances.map((row) => row.length)).toEqual([6, 6]);
    if (precision !== 'fp32') return;
    // Another order does show in float32, and every seed has one of its own.
    for (const row of found.distances) for (const distance of row) expect(distance).toBeGreaterThan(0);
    expect(found.distances[0]).not.toEqual(found.distances[1]);
  });

  test('without a class to permute, or in exact arithmetic, there is no drift', async () => {
    const { executor, run } = await start('llama', 'fp16', resolveKernels('ort'));
    const { distances } = await placebo(executor, run, { seeds: [1], classes: [] });
    expect(distances).toEqual([[0, 0, 0, 0, 0, 0]]);
    const exact = await start('gemma2', 'fp64', resolveKernels('ort'), 3);
    const tiny = await placebo(exact.executor, exact.run, { seeds: [1, 2], classes: operationClasses });
    for (const distance of tiny.distances.flat()) expect(distance).toBeLessThan(1e-12);
  });

  test('the classes are those whose matmuls the decode kernel changes', async () => {
    const { executor, run } = await start('llama', 'fp16', onlyMlp);
    const { classes } = await placebo(executor, run, { seeds: [] });
    expect(classes).toContain('mlp');
    for (const packed of ['qkv', 'o', 'head']) expect(classes).not.toContain(packed);
  });

  test('a permuted kernel keeps what the uncached arm has', () => {
    const preset = parseKernels({ name: 'x', prefill: { classes: { o: { slices: 2 } } }, decode: {} }, 'test');
    expect(permutedKernel(preset, ['o', 'head'], 5).classes).toEqual({
      o: { slices: 2, permute: 5 },
      head: { permute: 5 },
    });
  });
});

describe('flip rates', () => {
  test.each(Object.keys(models))('%s: unpacked weights change bits at every matmul of a weight', async (model) => {
    const { executor, run } = await start(model, 'fp32', resolveKernels('ort-unpacked'));
    const rates = await flipRates(executor, run);
    const { layers, vocabSize } = executor.config;
    expect(rates).toHaveLength(9 * layers + 1);
    for (const { hook, operation, elements, differing, dtype } of rates) {
      expect(dtype, hook).toBe('f32');
      expect(elements, hook).toBeGreaterThan(0);
      if (!['scores', 'values'].includes(operation)) expect(differing, hook).toBeGreaterThan(0);
    }
    expect(rates.at(-1)).toMatchObject({ hook: 'unembed.hook_out', elements: 6 * vocabSize });
  });

  test('one class’s kernel shows at its own hooks alone, down too where its input is equal', async () => {
    const { executor, run } = await start('llama', 'fp16', onlyMlp);
    const rates = await flipRates(executor, run);
    const changed = rates.filter(({ operation, differing }) => operation !== 'mlp' && differing > 0);
    // One-row attention may differ by itself; packed weights never do.
    for (const { operation } of changed) expect(['scores', 'values']).toContain(operation);
    const gate = rates.find(({ hook }) => hook === 'blocks.0.mlp.hook_pre')!;
    expect(gate.dtype).toBe('f16');
    expect(gate.differing / gate.elements).toBeGreaterThan(0.05);
    expect(changedClasses(rates)).toContain('mlp');
  });
});

describe('random ulps', () => {
  test('are as many as was asked for, one unit each, both ways alike', () => {
    const data = new Float32Array(100_000).fill(1.5);
    data[7] = -Infinity;
    const flipped = flip(data, 'f16', 0.1, new RandomStream(3, 'flip'));
    const ups = data.filter((x) => x === 1.5 + 2 ** -10).length;
    const downs = data.filter((x) => x === 1.5 - 2 ** -10).length;
    expect(ups + downs).toBe(flipped);
    expect(data.filter((x) => x === 1.5).length).toBe(100_000 - 1 - flipped);
    expect(data[7]).toBe(-Infinity);
    expect(Math.abs(flipped - 10_000)).toBeLessThan(5 * Math.sqrt(9000));
    expect(Math.abs(ups - downs)).toBeLessThan(5 * Math.sqrt(10_000));
  });

  test('at no rate they are the uncached arm to the bit; at a rate they are not, and a seed repeats', async () => {
    const { executor, run } = await start('mistral', 'fp16', resolveKernels('split-k:4:storage'), 4);
    const rates = await flipRates(executor, run);
    const none = rates.map((rate) => ({ ...rate, differing: 0 }));
    expect((await randomUlp(executor, run, { seeds: [1], rates: none })).distances).toEqual([[0, 0, 0, 0]]);
    const found = await randomUlp(executor, run, { seeds: [1, 2], rates });
    expect(await randomUlp(executor, run, { seeds: [1, 2], rates })).toEqual(found);
    expect(found.distances[0]).not.toEqual(found.distances[1]);
    for (const [seed, flipped] of found.flipped.entries()) {
      expect(found.distances[seed].at(-1)).toBeGreaterThan(0);
      expect(flipped).toBeGreaterThan(0);
    }
    // As many flips as the kernel makes, within five standard deviations of a Poisson count.
    const expected = rates.reduce((sum, { elements, differing, hook }) => {
      const perStep = elementsPerStep(executor, hook, run.lengths);
      return sum + (elements === 0 ? 0 : (differing / elements) * perStep);
    }, 0);
    for (const flipped of found.flipped) expect(Math.abs(flipped - expected)).toBeLessThan(5 * Math.sqrt(expected));
  });

  test('flipping the unembedding alone moves each logit by no more than its unit', async () => {
    const { executor, run } = await start('llama', 'fp16', resolveKernels('ort'), 3);
    const hook = 'unembed.hook_out';
    const rates = [{ hook, operation: 'head', dtype: 'f16', elements: 1, differing: 1 } as const];
    const { distances, flipped } = await randomUlp(executor, run, { seeds: [4], rates });
    expect(flipped).toEqual([3 * executor.config.vocabSize]);
    distances[0].forEach((distance, step) => {
      const units = Array.from(run.logits[step], (z) => 2 ** (Math.floor(Math.log2(Math.abs(z))) - 10));
      const most = Math.sqrt(units.reduce((sum, unit) => sum + unit ** 2, 0));
      expect(distance).toBeGreaterThan(most / 2);
      expect(distance).toBeLessThanOrEqual(most * 1.0001);
    });
  });
});

/** Finite elements of a hook's newest row, over all steps. */
function elementsPerStep({ config }: Executor, hook: string, lengths: readonly number[]): number {
  const { heads, kvHeads, headDim, hiddenSize, intermediateSize, vocabSize, slidingWindows } = config;
  const kind = hook.replace(/^blocks\.\d+\./, '');
  if (kind === 'attn.hook_attn_scores') {
    const window = slidingWindows[Number(hook.split('.')[1])] ?? Infinity;
    return lengths.reduce((sum, n) => sum + heads * Math.min(n, window), 0);
  }
  const sizes: Record<string, number> = {
    ...{ 'attn.hook_q': heads * headDim, 'attn.hook_k': kvHeads * headDim, 'attn.hook_v': kvHeads * headDim },
    ...{ 'attn.hook_z': heads * headDim, hook_attn_out: hiddenSize, hook_mlp_out: hiddenSize },
    ...{ 'mlp.hook_pre': intermediateSize, 'mlp.hook_pre_linear': intermediateSize, 'unembed.hook_out': vocabSize },
  };
  return sizes[kind] * lengths.length;
}

test('a summary is that of the pooled distances, and of each seed’s mean', async () => {
  const rows = [
    [0, 1, 2],
    [3, 4, 5],
  ];
  expect(summariseNull(rows)).toEqual({
    ...{ seeds: 2, steps: 3, mean: 2.5, max: 5, zero: 1 / 6 },
    quantiles: { q50: 2.5, q90: 4.5, q95: 4.75, q999: expect.closeTo(4.995, 12) },
    seedMeans: { q05: expect.closeTo(1.15, 12), q50: 2.5, q95: expect.closeTo(3.85, 12) },
  });
  const { executor, run } = await start('llama', 'fp32', resolveKernels('ort'), 2);
  const arm = Arm.cached(executor, 12, 1);
  await arm.prefill(prompt, captureNothing);
  const first = await arm.step(run.tokens.slice(0, 11), captureNothing);
  expect(run.observed[0]).toBe(centredDistance(first.logits, run.logits[0]));
});
