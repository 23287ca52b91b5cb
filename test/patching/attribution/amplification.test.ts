/** Gains of layers where they are known beforehand, random differences of the size asked for, and their composition by hand. */
import { afterAll, describe, expect, test } from 'vitest';
import { distance } from '../../../src/divergence/counterfactual.ts';
import { hookName } from '../../../src/graph/hooks.ts';
import { Arm } from '../../../src/model/arms.ts';
import { captureNothing, Executor } from '../../../src/model/executor.ts';
import { roundTo } from '../../../src/numerics/half.ts';
import { RandomStream } from '../../../src/numerics/random.ts';
import { forcedRun } from '../../../src/patching/arms/forced-run.ts';
import {
  type AmplificationRun,
  type LayerStep,
  measureAmplification,
} from '../../../src/patching/attribution/amplification.ts';
import { layerGains, predictDrift } from '../../../src/patching/attribution/predicted-drift.ts';
import { randomNeighbour } from '../../../src/patching/attribution/random-difference.ts';
import { executorOptions, NudgesEmbedding } from '../../divergence/planted.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dirs: string[] = [];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const dir of dirs) removeCheckpoint(dir);
});
const prompt = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];

async function measure(
  options: TinyOptions,
  {
    precision = 'fp32',
    kernels = 'ort-unpacked',
    Kind = Executor,
  }: { precision?: string; kernels?: string; Kind?: typeof Executor } = {},
) {
  const dir = writeTinyCheckpoint(options);
  dirs.push(dir);
  const executor = new Kind(await executorOptions(dir, precision, kernels));
  executors.push(executor);
  const run = await forcedRun(executor, prompt, { steps: 4, ignoreEos: true });
  return measureAmplification(executor, run, { draws: 3, seed: 1 });
}

/** Blocks that write nothing: what enters leaves. */
const identity: TinyOptions = {
  edit: (key, values) => {
    if (key.includes('o_proj') || key.includes('down_proj')) values.fill(0);
  },
};

describe('blocks that write nothing', () => {
  test('pass differences on as they are, and the unembedding’s gain predicts the drift', async () => {
    const run = await measure(identity, { kernels: 'ort', Kind: NudgesEmbedding });
    for (const step of run.steps) {
      for (const { entering, leaving, random, added, viaHistory } of step.slice(0, -1)) {
        expect(entering).toBeGreaterThan(0);
        expect({ leaving, added, viaHistory }).toEqual({ leaving: entering, added: 0, viaHistory: 0 });
        expect(random).toHaveLength(3);
        for (const each of random) expect(each.leaving).toBe(each.entering);
      }
    }
    for (const { actual, random } of layerGains([run]).slice(0, -1))
      expect({ actual, random }).toEqual({ actual: 1, random: 1 });
    const { observed, predictedActual } = predictDrift([run]);
    expect(observed).toBeGreaterThan(0);
    // √(Σ D²) = g √(Σ d²) is how the one gain that is left is defined.
    expect(predictedActual / observed).toBeCloseTo(1, 12);
  });

  test('without a difference there is nothing to amplify', async () => {
    const run = await measure(identity, { kernels: 'ort' });
    expect(run.observed).toEqual([0, 0, 0, 0]);
    for (const { entering, leaving, random } of run.steps.flat()) {
      expect({ entering, leaving, random }).toEqual({ entering: 0, leaving: 0, random: [] });
    }
    expect(layerGains([run]).map(({ actual, random }) => [actual, random])).toEqual([
      [null, null],
      [null, null],
      [null, null],
    ]);
    expect(predictDrift([run])).toMatchObject({ observed: 0, predictedRandom: 0, predictedActual: 0 });
  });
});

describe.each([
  ['llama', 'fp32', 'ort-unpacked', {}],
  ['mistral', 'fp16', 'split-k:8:storage', { modelType: 'mistral', attention: 'gqa', seed: 2 }],
  ['gemma2', 'bf16', 'split-kv:4', { modelType: 'gemma2', attention: 'gqa', seed: 3 }],
] as const)('%s, %s, %s', (_, precision, kernels, options) => {
  test('each layer’s parts reach the next: no difference exceeds their sum, none is lost', async () => {
    const run = await measure({ ...options, layers: 3 }, { precision, kernels });
    expect(run.steps).toHaveLength(4);
    for (const [step, layers] of run.steps.entries()) {
      expect(layers.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
      expect(layers[0].entering).toBe(0);
      const after = [...layers.slice(1).map(({ entering }) => entering), run.observed[step]];
      layers.forEach(({ leaving, added, viaHistory }, i) => {
        const parts = [leaving, added, viaHistory];
        const [most, total] = [Math.max(...parts), parts.reduce((a, b) => a + b, 0)];
        expect(after[i]).toBeLessThanOrEqual(total * (1 + 1e-12));
        expect(after[i]).toBeGreaterThanOrEqual((2 * most - total) * (1 - 1e-12));
      });
    }
    const gains = layerGains([run]);
    expect(gains[0].actual).toBeNull();
    for (const { actual, random } of gains.slice(1)) {
      for (const value of [actual, random]) expect(value).toBeGreaterThan(0.1);
    }
    const { observed, predictedActual, predictedRandom } = predictDrift([run]);
    // Independent parts in other directions: within a small factor, or the composition is wrong.
    for (const predicted of [predictedActual, predictedRandom]) {
      expect(predicted / observed).toBeGreaterThan(1 / 3);
      expect(predicted / observed).toBeLessThan(3);
    }
  });
});

test('composition by hand: two layers and the unembedding', () => {
  const layer = (of: Partial<LayerStep>): LayerStep => ({
    ...{ layer: 0, entering: 0, leaving: 0, random: [], added: 0, viaHistory: 0 },
    ...of,
  });
  const step = [
    layer({ added: 3, viaHistory: 4 }),
    layer({ layer: 1, entering: 5, leaving: 10, random: [{ entering: 4, leaving: 12 }], added: 24 }),
    layer({ layer: 2, entering: 20, leaving: 10, random: [{ entering: 2, leaving: 2 }] }),
  ];
  const run: AmplificationRun = { steps: [step], observed: [11] };
  expect(layerGains([run])).toEqual([
    { layer: 0, actual: null, random: null, steps: 0 },
    { layer: 1, actual: 2, random: 3, steps: 1 },
    { layer: 2, actual: 0.5, random: 1, steps: 1 },
  ]);
  // 5, then √(10² + 24²) = 26, then 13; with random gains √(15² + 24²).
  const { observed, predictedActual, predictedRandom } = predictDrift([run]);
  expect(observed).toBe(11);
  expect(predictedActual).toBeCloseTo(13, 12);
  expect(predictedRandom).toBeCloseTo(Math.sqrt(15 ** 2 + 24 ** 2), 12);
});

test.each(['f16', 'bf16', 'f32'] as const)(
  'random differences in %s: representable, of the size asked for, seeded',
  (type) => {
    const stream = new RandomStream(2, 'x');
    const x = Float32Array.from({ length: 256 }, () => roundTo(type, stream.normal()));
    const unit = { f16: 2 ** -11, bf16: 2 ** -8, f32: 2 ** -24 }[type];
    for (const size of [2, 8, 100]) {
      const wanted = size * unit;
      const moved = randomNeighbour(x, wanted, type, new RandomStream(7, 'δ'));
      for (const value of moved) expect(roundTo(type, value)).toBe(value);
      expect(Math.abs(distance(moved, x) / wanted - 1), `${size} u`).toBeLessThan(0.1);
      expect(randomNeighbour(x, wanted, type, new RandomStream(7, 'δ'))).toEqual(moved);
      expect(randomNeighbour(x, wanted, type, new RandomStream(8, 'δ'))).not.toEqual(moved);
    }
  },
);

test('entering, leaving, added and what comes through the history are those of block passes made by hand', async () => {
  const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 2 });
  dirs.push(dir);
  const executor = new Executor(await executorOptions(dir, 'fp32', 'ort-unpacked'));
  executors.push(executor);
  const run = await forcedRun(executor, prompt, { steps: 4, ignoreEos: true });
  const { steps } = await measureAmplification(executor, run, { draws: 1, seed: 1 });
  const arms = [Arm.uncached(executor, run.tokens.length, 'recompute'), Arm.cached(executor, run.tokens.length, 1)];
  const names = [0, 1].flatMap((layer) => [hookName('resid_pre', layer), hookName('resid_post', layer)]);
  const hooks = new Set(names);
  for (const arm of arms) await arm.prefill(run.tokens.slice(0, run.promptLength), captureNothing);
  for (const [at, n] of run.lengths.entries()) {
    const [u, c] = [
      await arms[0].step(run.tokens.slice(0, n), { hooks }),
      await arms[1].step(run.tokens.slice(0, n), { hooks }),
    ];
    const newest = (step: typeof u, kind: string, layer: number) =>
      step.activations.get(hookName(kind, layer))!.data.slice(-executor.config.hiddenSize);
    for (const layer of [0, 1]) {
      const pass = async (x: typeof u, history: Arm) => {
        const rows = history.cache.view(layer, n - 1);
        const input = newest(x, 'resid_pre', layer);
        const place = { start: n - 1, count: 1 };
        return (await executor.block(layer, input, place, rows, 'decode', captureNothing)).residual;
      };
      const [bothU, uOnC, bothC] = [await pass(u, arms[0]), await pass(u, arms[1]), await pass(c, arms[1])];
      expect(steps[at][layer]).toMatchObject({
        entering: distance(newest(c, 'resid_pre', layer), newest(u, 'resid_pre', layer)),
        leaving: distance(bothC, uOnC),
        added: distance(bothU, newest(u, 'resid_post', layer)),
        viaHistory: distance(uOnC, bothU),
      });
    }
  }
  // Each of the three must be there, or none could be told from another.
  const all = steps.flatMap((step) => step.slice(0, 2));
  for (const name of ['leaving', 'added', 'viaHistory'] as const)
    expect(Math.max(...all.map((each) => each[name])), name).toBeGreaterThan(0);
});
