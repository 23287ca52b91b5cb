/** Values arrive: what a hook is patched with is what is read back there, bit for bit but for the sign of zero. */
import { afterAll, describe, expect, test } from 'vitest';
import { findHook } from '../../../src/graph/hooks.ts';
import { newestRows } from '../../../src/model/activation-rows.ts';
import { requestOf } from '../../../src/patching/arms/two-by-two.ts';
import { editsAt } from '../../../src/patching/run/edits.ts';
import { SavedRuns } from '../../../src/patching/run/saved-runs.ts';
import { SourceRows } from '../../../src/patching/run/source-rows.ts';
import { resolveSpec } from '../../../src/patching/specification/resolve.ts';
import { type ArmsSpecInput, parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { allHooks, executorOf, promptTokens, traced } from '../arms/traces.ts';

const models = {
  mistral: writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 2, seed: 4 }),
  gemma2: writeTinyCheckpoint({ modelType: 'gemma2', attention: 'gqa', layers: 2, seed: 5, headDim: 32 }),
};
afterAll(() => Object.values(models).forEach(removeCheckpoint));
const kinds = ['q', 'k', 'v', 'rot_q', 'rot_k', 'z', 'attn_scores', 'pattern'].map((kind) => `attn.hook_${kind}`);
const residual = ['resid_pre', 'resid_mid', 'resid_post', 'attn_out', 'mlp_out'].map((kind) => `hook_${kind}`);
const step = 5;

async function prepare(model: keyof typeof models, precision: string) {
  const executor = await executorOf(models[model], precision);
  const { trajectory, runner } = await traced(executor, { keep: allHooks(executor), rewrite: true });
  const sources = new SourceRows(executor, trajectory, await SavedRuns.open(executor, [], []));
  return { executor, trajectory, runner, sources };
}

/** One patched step of a prepared prompt. */
async function run(
  { executor, trajectory, runner, sources }: Awaited<ReturnType<typeof prepare>>,
  patches: ArmsSpecInput['patches'],
  kernel: 'decode' | 'prefill' = 'decode',
) {
  const spec = parsePatchSpec({ experiment: 'arms', name: 'x', patches }, 'x');
  const [{ targets }] = resolveSpec(spec, executor.config, executor.kernels).cells;
  const edits = editsAt({ executor, trajectory, sources, base: trajectory.cached, decodeRows: 1 }, targets, step);
  const history = trajectory.cached.history(promptTokens.length + step);
  const request = { ...requestOf(trajectory, step, kernel, history), patches: edits.patches };
  return { edits, found: await runner.run({ ...request, hooks: allHooks(executor) }) };
}

const cases = (['mistral', 'gemma2'] as const).flatMap((model) =>
  ['fp32', 'fp16', 'bf16'].flatMap((precision) =>
    (['decode', 'prefill'] as const).map((kernel) => [model, precision, kernel] as const),
  ),
);

describe.each(cases)('%s in %s under the %s kernel', (model, precision, kernel) => {
  test('the uncached row of each hook is what the patched step reads there', async () => {
    const prepared = await prepare(model, precision);
    const { executor, trajectory } = prepared;
    for (const name of [...kinds, ...residual].map((kind) => `blocks.1.${kind}`)) {
      const { found } = await run(prepared, [{ hook: name }], kernel);
      const hook = findHook(name, executor.config)!;
      const read = newestRows(hook, found.activations.get(name)!, 1);
      const given = trajectory.uncached.steps[step].rows.get(name)!;
      expect(read.dims).toEqual(given.dims);
      // +0 and −0 are equal here: Where yields +0.
      expect(
        [...read.data].map((x) => x + 0),
        name,
      ).toEqual([...given.data].map((x) => x + 0));
      await executor.release();
    }
  });

  test('one head of a hook is replaced, and the other heads are what they were', async () => {
    const name = 'blocks.1.attn.hook_z';
    const prepared = await prepare(model, precision);
    const { executor, trajectory } = prepared;
    const { found } = await run(prepared, [{ hook: name, heads: [2], from: 'zero' }], kernel);
    const { headDim, heads } = executor.config;
    const read = newestRows(findHook(name, executor.config)!, found.activations.get(name)!, 1).data;
    for (let head = 0; head < heads; head++) {
      const row = [...read.subarray(head * headDim, (head + 1) * headDim)];
      const own = [
        ...trajectory.cached.steps[step].rows.get(name)!.data.subarray(head * headDim, (head + 1) * headDim),
      ];
      if (head === 2) expect(row).toEqual(own.map(() => 0));
      // The kernel of this step is the arm's own only if it decodes.
      else if (kernel === 'decode') expect(row).toEqual(own);
      else expect(row.some((x) => x !== 0)).toBe(true);
    }
    await executor.release();
  });
});

test("the step's own K and V rows stay in the cache as they were patched", async () => {
  const patches = [{ cache: 'both' as const, positions: ['last' as const], from: 'uncached' as const }];
  const prepared = await prepare('mistral', 'fp16');
  const { executor, trajectory } = prepared;
  const { found } = await run(prepared, patches);
  const n = promptTokens.length + step;
  for (let layer = 0; layer < executor.config.layers; layer++) {
    const [own, given] = [found.arm.cache.view(layer, n), trajectory.uncached.after(n).view(layer, n)];
    const size = found.arm.cache.rowSize;
    expect(own.keys.slice(-size)).toEqual(given.keys.slice(-size));
    expect(own.values.slice(-size)).toEqual(given.values.slice(-size));
  }
  await executor.release();
});

test('the order-matched arm is a source, and equal to the uncached one', async () => {
  const prepared = await prepare('mistral', 'fp16');
  const rows = async (from: 'uncached' | 'cached-rewrite') =>
    (await run(prepared, [{ hook: 'blocks.0.hook_attn_out', from }])).found.logits;
  expect(await rows('cached-rewrite')).toEqual(await rows('uncached'));
});

test('positions that the step does not run, or has not yet, are no part of the edits', async () => {
  const prepared = await prepare('mistral', 'fp32');
  type Patches = NonNullable<ArmsSpecInput['patches']>;
  const positions = async (patch: Patches[number]) => (await run(prepared, [patch])).edits.positions;
  const n = promptTokens.length + step;
  expect(await positions({ hook: 'blocks.0.hook_attn_out', positions: ['history'] })).toBeNull();
  expect(await positions({ hook: 'blocks.0.hook_attn_out', positions: ['generated'] })).toEqual({
    start: n - 1,
    end: n,
  });
  expect(await positions({ cache: 'k', positions: [2, [4, 40]] })).toEqual({ start: 2, end: n });
  expect(await positions({ cache: 'k', positions: [40] })).toBeNull();
});
