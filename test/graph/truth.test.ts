/** At every hook of the model, what the graphs compute is what an independent float64 forward pass computes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { definitionOf, modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { type Activations, Executor } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { newest, relativeDistance } from '../reference/compare.ts';
import { type ReferenceTensor, referenceForward } from '../reference/llama-float64.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const tokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11, 0, 95, 3];
const prefillLength = 10;
const bounds = { fp64: 1e-12, fp32: 1e-5 };
type Precision = keyof typeof bounds;

const tinyModels: Record<string, TinyOptions> = {
  'multi-head, untied, F32': {},
  'multi-head, tied, BF16': { tiedEmbeddings: true, dtype: 'BF16', seed: 2 },
  'grouped-query, untied, F16': { attention: 'gqa', dtype: 'F16', seed: 3 },
  'grouped-query, tied, F32': { attention: 'gqa', tiedEmbeddings: true, layers: 3, headDim: 8, seed: 4 },
};
const stories = sharedPath('data', 'models', 'stories260K');
const names = [...Object.keys(tinyModels), ...(stories ? ['stories260K'] : [])];

const dirs = new Map<string, string>(stories ? [['stories260K', stories]] : []);
beforeAll(() => {
  for (const [name, options] of Object.entries(tinyModels)) dirs.set(name, writeTinyCheckpoint(options));
});
afterAll(() => {
  for (const name of Object.keys(tinyModels)) removeCheckpoint(dirs.get(name)!);
});

describe.each(names)('%s', (name) => {
  test.each(['fp64', 'fp32'] as const)(
    '%s: one pass over all tokens is the reference at every hook',
    async (precision) => {
      const distances = await passDistances(name, precision);
      expect(beyond(distances, bounds[precision])).toEqual([]);
    },
  );

  test.each(['fp64', 'fp32'] as const)(
    '%s: steps of one row over the cache are the reference’s newest row',
    async (precision) => {
      const dir = dirs.get(name)!;
      const { executor, hooks } = await open(name, precision);
      const cache = executor.newCache(tokens.length);
      const capture = { hooks };
      await forward(executor, { tokens: tokens.slice(0, prefillLength), start: 0, cache, kernel: 'prefill', capture });
      for (let start = prefillLength; start < tokens.length; start++) {
        const request = { tokens: [tokens[start]], start, cache, kernel: 'decode', capture } as const;
        const { activations } = await forward(executor, request);
        const expected = newestRows(referenceForward(dir, tokens.slice(0, start + 1)));
        expect(beyond(compare(activations, expected, hooks), bounds[precision])).toEqual([]);
      }
      await executor.release();
    },
  );

  test('the bound is sharp: float32 leaves it at every hook that computes', async () => {
    const distances = await passDistances(name, 'fp32');
    const within = [...distances].filter(([, distance]) => distance <= bounds.fp64).map(([hook]) => hook);
    expect(within).toEqual(['hook_embed', 'blocks.0.hook_resid_pre']);
  });
});

test.each(['folded', 'ort-unpacked'])('kernels %s, fp64: one pass is the reference at every hook', async (preset) => {
  expect(beyond(await passDistances('grouped-query, tied, F32', 'fp64', preset), bounds.fp64)).toEqual([]);
});

async function open(name: string, precision: Precision, preset = 'ort') {
  const checkpoint = await openCheckpoint(dirs.get(name)!);
  const [policy, kernels] = [resolvePolicy(precision), resolveKernels(preset)];
  const executor = new Executor({ checkpoint, policy, kernels, threads: 1 });
  return { executor, hooks: new Set(modelHooks(executor.config).map((hook) => hook.name)) };
}

async function passDistances(name: string, precision: Precision, preset?: string) {
  const { executor, hooks } = await open(name, precision, preset);
  const cache = executor.newCache(tokens.length);
  const { activations } = await forward(executor, { tokens, start: 0, cache, kernel: 'prefill', capture: { hooks } });
  await executor.release();
  return compare(activations, referenceForward(dirs.get(name)!, tokens), hooks);
}

/** Distance per hook; the project and the reference must both hold exactly the model's hooks. */
function compare(found: Activations, expected: ReadonlyMap<string, ReferenceTensor>, hooks: ReadonlySet<string>) {
  expect(new Set(found.keys())).toEqual(hooks);
  expect(new Set(expected.keys())).toEqual(hooks);
  return new Map([...hooks].map((hook) => [hook, relativeDistance(found.get(hook)!, expected.get(hook)!)]));
}

function beyond(distances: ReadonlyMap<string, number>, bound: number): string[] {
  return [...distances]
    .filter(([, distance]) => !(distance <= bound))
    .map(([hook, distance]) => `${hook}: ${distance}`);
}

/** The newest query's part of every tensor; the rows attention reads stay whole. */
function newestRows(tensors: ReadonlyMap<string, ReferenceTensor>): Map<string, ReferenceTensor> {
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const { axes } = definitionOf(name)!;
      const axis = axes.findIndex((label) => label === 'pos' || label === 'query');
      return [name, axis < 0 ? tensor : newest(tensor, axis)];
    }),
  );
}
