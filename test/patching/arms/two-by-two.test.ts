/** The 2×2 against what its known cells must be, and against the honest loop over all rows. */
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../../src/checkpoint/embedded.ts';
import { bitEqual } from '../../../src/divergence/counterfactual.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { checkResults } from '../../../src/patching/arms/checks.ts';
import { distanceTo } from '../../../src/patching/arms/recovery.ts';
import { twoByTwo } from '../../../src/patching/arms/two-by-two.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf, traced } from './traces.ts';

const families = {
  llama: writeTinyCheckpoint({ layers: 3, seed: 3 }),
  mistral: writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 }),
  gemma2: writeTinyCheckpoint({ modelType: 'gemma2', attention: 'gqa', layers: 3, seed: 5, headDim: 32 }),
};
afterAll(() => Object.values(families).forEach(removeCheckpoint));
const models = {
  ...families,
  ...Object.fromEntries(
    ['mini-llama', 'mini-mistral', 'mini-gemma2'].map((name) => [name, join(packageRoot(), 'data/checkpoints', name)]),
  ),
};
const precisions = ['fp32', 'fp16', 'bf16'];
const cases = Object.keys(models).flatMap((model) => precisions.map((precision) => [model, precision] as const));

describe.each(cases)('%s in %s', (model, precision) => {
  test('both known cells are exact at every step, and the others go where they must', async () => {
    const executor = await executorOf(models[model as keyof typeof models], precision);
    const { trajectory, runner } = await traced(executor, { maxNewTokens: 10 });
    const { layers } = executor.config;
    const steps = Array.from({ length: trajectory.steps - 1 }, (_, i) => i + 1);
    const prefixes = Array.from({ length: layers }, (_, i) => i + 1);
    const { cells, checks } = await twoByTwo({ trajectory, runner, steps, prefixes, horizons: [0, 1, 3] });

    const results = checkResults(checks, resolvePolicy(precision));
    expect(results).toMatchObject([
      { name: 'patch-self', status: 'passed', measured: expect.stringMatching(/^0 of \d/) },
      { name: 'patch-full', status: 'passed', measured: expect.stringMatching(/^0 of \d/) },
    ]);
    expect(checks['patch-self'].steps).toBe(steps.length);
    expect(checks['patch-full'].steps).toBe(steps.length + 1);
    expect(cells).toHaveLength(steps.length * 2 * (1 + layers));
    for (const cell of cells) {
      const [now] = cell.outcomes;
      if (cell.history === 'cached' && cell.kernel === 'decode') {
        expect(cell.changed).toBe(0);
        for (const { recovery } of cell.outcomes) expect(recovery.patched).toEqual(recovery.base);
        expect(cell.tokens).toEqual(cell.baseTokens);
      }
      if (cell.layers === layers && cell.kernel === 'prefill') {
        expect(now.recovery).toMatchObject({ exact: true, patched: { l2: 0, kl: 0, differ: 0 } });
        expect(cell.tokens.follows).toBeGreaterThan(0);
      }
    }
    await executor.release();
  });
});

test('two rows with the row before overwritten at the read are all rows with all rows overwritten', async () => {
  const executor = await executorOf(families.mistral, 'fp16');
  const { trajectory, runner } = await traced(executor, { maxNewTokens: 20 });
  for (let step = 1; step < trajectory.steps; step++) {
    const n = trajectory.promptLength + step;
    const request = {
      tokens: trajectory.tokens.slice(0, n),
      history: trajectory.cached.history(n),
      kernel: 'prefill' as const,
      capacity: n,
    };
    runner.prefillRows = 'all';
    const all = await runner.run(request);
    expect(await runner.probe(request)).toBe(true);
    const two = await runner.run(request);
    expect(bitEqual(all.logits, two.logits)).toBe(true);
    for (let layer = 0; layer < executor.config.layers; layer++) {
      expect(bitEqual(all.arm.cache.view(layer, n).keys, two.arm.cache.view(layer, n).keys)).toBe(true);
      expect(bitEqual(all.arm.cache.view(layer, n).values, two.arm.cache.view(layer, n).values)).toBe(true);
      // The history is what was given, row n − 2 included.
      const given = request.history.view(layer, n - 1);
      expect(bitEqual(two.arm.cache.view(layer, n - 1).keys, given.keys)).toBe(true);
    }
  }
  await executor.release();
});

test('a prefix replaces the first layers: the cells are steps on histories that are put together by hand', async () => {
  const executor = await executorOf(families.mistral, 'fp32');
  const { trajectory, runner } = await traced(executor, { maxNewTokens: 12 });
  const { layers } = executor.config;
  const { cells } = await twoByTwo({
    ...{ trajectory, runner, steps: [6], horizons: [0], prefixes: [1, layers - 1] },
    ...{ histories: ['recomputed'], kernels: ['decode'] },
  });
  expect(cells.map((cell) => cell.layers)).toEqual([1, layers - 1]);
  const n = trajectory.promptLength + 6;
  for (const { layers: prefix, outcomes } of cells) {
    const history = executor.newCache(n);
    for (let layer = 0; layer < layers; layer++) {
      const { keys, values } = trajectory[layer < prefix ? 'uncached' : 'cached'].history(n).view(layer, n - 1);
      history.write(layer, 0, keys, values);
    }
    const { logits } = await runner.run({
      tokens: trajectory.tokens.slice(0, n),
      history,
      kernel: 'decode',
      capacity: n,
    });
    expect(outcomes[0].recovery.patched).toEqual(distanceTo(trajectory.uncached.steps[6].logits, logits));
  }
  // Else first and last layers could not be told apart.
  expect(cells[0].outcomes[0].recovery.patched.l2).not.toBe(cells[1].outcomes[0].recovery.patched.l2);
  await executor.release();
});

test('where two rows are not all rows (float64), all rows run and the checks hold to the tolerance', async () => {
  const executor = await executorOf(families.llama, 'fp64');
  const { trajectory, runner } = await traced(executor, { uncachedPlan: 'recompute', maxNewTokens: 6 });
  const steps = [1, 2, 3, 4, 5];
  const { checks } = await twoByTwo({ trajectory, runner, steps, horizons: [0] });
  for (const result of checkResults(checks, resolvePolicy('fp64'))) expect(result).toMatchObject({ status: 'passed' });
  await executor.release();
});

test('order-matched decoding leaves nothing to recover: every cell is vacuous', async () => {
  const executor = await executorOf(families.llama, 'fp16');
  const { trajectory, runner } = await traced(executor, { decodeRows: 2 });
  const { cells } = await twoByTwo({ trajectory, runner, steps: [1, 4, 7] });
  for (const { outcomes } of cells) {
    for (const { recovery } of outcomes) {
      expect(recovery).toMatchObject({ vacuous: true, harmful: false, recovery: null, recoveryKl: null });
    }
  }
  await executor.release();
});
