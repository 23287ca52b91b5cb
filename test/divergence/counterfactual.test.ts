/** Added, via history, via residual: the parts of a layer's difference, where a difference was planted and where none was. */
import { afterAll, describe, expect, test } from 'vitest';
import { attribute, bitEqual, type LayerOutputs, layerOutputs } from '../../src/divergence/counterfactual.ts';
import { hookName } from '../../src/graph/hooks.ts';
import { Arm, type ArmStep } from '../../src/model/arms.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { executorOptions, NudgesBlock, NudgesEmbedding, nudge } from './planted.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  removeCheckpoint(dir);
});

const layers = [0, 1, 2];
const prompt = [1, 17, 5, 88, 42, 42, 7];
const forced = [9, 70, 33, 12, 5, 64];
const capture = {
  hooks: new Set(layers.flatMap((layer) => ['resid_pre', 'resid_post'].map((kind) => hookName(kind, layer)))),
};

interface Pair {
  executor: Executor;
  uncached: { arm: Arm; step: ArmStep };
  cached: { arm: Arm; step: ArmStep };
}

interface Setting {
  precision?: string;
  decodeRows?: number;
  Kind?: typeof Executor;
  /** Called before the last step. */
  plant?: (cached: Arm) => void;
}

/** Both arms, recomputed in full, on the same tokens; `at` looks at every step after the prefill. */
async function decode(
  { precision, decodeRows = 1, Kind = Executor, plant }: Setting,
  at: (pair: Pair, step: number) => Promise<void>,
): Promise<void> {
  const executor = new Kind(await executorOptions(dir, precision));
  executors.push(executor);
  const capacity = prompt.length + forced.length;
  const cached = Arm.cached(executor, capacity, decodeRows);
  const uncached = Arm.uncached(executor, capacity, 'recompute');
  await cached.prefill(prompt, capture);
  await uncached.prefill(prompt, capture);
  for (let step = 1; step <= forced.length; step++) {
    if (step === forced.length) plant?.(cached);
    const tokens = [...prompt, ...forced.slice(0, step)];
    const u = { arm: uncached, step: await uncached.step(tokens, capture) };
    const c = { arm: cached, step: await cached.step(tokens, capture) };
    await at({ executor, uncached: u, cached: c }, step);
  }
}

/** The parts of every layer, at every step. */
async function parts(setting: Setting) {
  const found: ReturnType<typeof attribute>[][] = [];
  await decode(setting, async ({ executor, uncached, cached }) => {
    const row: ReturnType<typeof attribute>[] = [];
    for (const layer of layers) row.push(attribute(await layerOutputs(executor, layer, uncached, cached)));
    found.push(row);
  });
  return found;
}

const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));
const minus = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a, (x, i) => x - b[i]);
const none = { added: 0, viaHistory: 0, viaResidual: 0 };
const some = expect.toSatisfy((value: number) => value > 0, 'above 0');

describe.each(['fp32', 'fp16'])('%s, grouped queries, one row', (precision) => {
  const newest = (step: ArmStep, kind: string, layer: number) => {
    const { data, dims } = step.activations.get(hookName(kind, layer))!;
    return data.subarray(data.length - dims[2]);
  };

  test('each output is the block on the inputs it is named after, and the parts sum to the difference', async () => {
    await decode({ precision }, async ({ executor, uncached, cached }, step) => {
      const start = cached.step.n - 1;
      for (const layer of layers) {
        const outputs = await layerOutputs(executor, layer, uncached, cached);
        // Every combination is run again, also those that are known because their inputs are equal.
        const f = async (x: ArmStep, history: Arm) => {
          const input = newest(x, 'resid_pre', layer);
          const past = history.cache.view(layer, start);
          return (await executor.block(layer, input, { start, count: 1 }, past, 'decode', captureNothing)).residual;
        };
        const expected: LayerOutputs = {
          uncached: newest(uncached.step, 'resid_post', layer),
          sameInput: await f(uncached.step, uncached.arm),
          otherHistory: await f(uncached.step, cached.arm),
          cached: await f(cached.step, cached.arm),
        };
        expect(bitEqual(expected.cached, newest(cached.step, 'resid_post', layer))).toBe(true);
        for (const name of ['uncached', 'sameInput', 'otherHistory', 'cached'] as const)
          expect(bitEqual(outputs[name], expected[name]), `${name}, step ${step}, layer ${layer}`).toBe(true);

        const { uncached: base, sameInput, otherHistory, cached: top } = expected;
        const vectors = [minus(sameInput, base), minus(otherHistory, sameInput), minus(top, otherHistory)];
        const rest = minus(top, base).map((total, i) => total - vectors.reduce((sum, part) => sum + part[i], 0));
        expect(norm(rest)).toBeLessThanOrEqual(1e-15 * norm(base));
        const sizes = attribute(outputs);
        [sizes.added, sizes.viaHistory, sizes.viaResidual].forEach((size, part) => {
          expect(size).toBeCloseTo(norm(vectors[part]) / norm(base), 15);
        });
      }
    });
  });

  test('layer 0 reads the same residual rows in both arms, so nothing arrives through them', async () => {
    for (const [first] of await parts({ precision })) expect(first.viaResidual).toBe(0);
  });
});

test('fp32, one row: every part occurs', async () => {
  const found = (await parts({})).flat();
  for (const part of ['added', 'viaHistory', 'viaResidual'] as const)
    expect(
      found.filter((sizes) => sizes[part] > 0),
      part,
    ).not.toEqual([]);
});

test.each(['fp32', 'fp16', 'bf16'])('%s, two rows: every part of every layer is exactly 0', async (precision) => {
  const found = await parts({ precision, decodeRows: 2 });
  expect(found).toEqual(forced.map(() => layers.map(() => none)));
});

describe('planted in two-row decoding, which differs nowhere by itself', () => {
  const later = { added: 0, viaHistory: 0, viaResidual: some };

  test.each(['keys', 'values'] as const)(
    '%s of one past row: via history in layer 0, via residual after it',
    async (which) => {
      const plant = (cached: Arm) => {
        const row = cached.cache.view(0, 3)[which].subarray(2 * cached.cache.rowSize);
        row.forEach((value, i) => {
          row[i] = value * nudge;
        });
      };
      const found = await parts({ decodeRows: 2, plant });
      expect(found.slice(0, -1).flat()).toEqual(found.slice(0, -1).flatMap(() => layers.map(() => none)));
      expect(found.at(-1)).toEqual([{ added: 0, viaHistory: some, viaResidual: 0 }, later, later]);
    },
  );

  test('the embedding of decode steps: via residual only, in every layer', async () => {
    const [first] = await parts({ decodeRows: 2, Kind: NudgesEmbedding });
    expect(first).toEqual([later, later, later]);
  });

  test("block 0's decode kernel: added in layer 0, via residual after it", async () => {
    const [first] = await parts({ decodeRows: 2, Kind: NudgesBlock });
    expect(first).toEqual([{ added: some, viaHistory: 0, viaResidual: 0 }, later, later]);
  });
});

describe('relative norms', () => {
  const outputs = (
    uncached: number[],
    sameInput: number[],
    otherHistory: number[],
    cached: number[],
  ): LayerOutputs => ({
    uncached: Float32Array.from(uncached),
    sameInput: Float32Array.from(sameInput),
    otherHistory: Float32Array.from(otherHistory),
    cached: Float32Array.from(cached),
  });

  test.each([
    ['are over the norm of the uncached output', outputs([3, 4], [3, 5], [3, 7], [0, 7]), [1 / 5, 2 / 5, 3 / 5]],
    ['of a zero output are 0 or infinite', outputs([0, 0], [0, 0], [1, 0], [1, 0]), [0, Number.POSITIVE_INFINITY, 0]],
    ['of NaN are NaN', outputs([3, 4], [3, 4], [3, 4], [Number.NaN, 4]), [0, 0, Number.NaN]],
  ])('%s', (_, given, expected) => {
    const { added, viaHistory, viaResidual } = attribute(given);
    expect([added, viaHistory, viaResidual]).toEqual(expected);
  });

  test('bitEqual tells +0 from −0 and finds equal NaN equal', () => {
    const array = (...values: number[]) => Float32Array.from(values);
    expect(bitEqual(array(0), array(-0))).toBe(false);
    expect(bitEqual(array(Number.NaN), array(Number.NaN))).toBe(true);
    expect(bitEqual(array(1, 2), array(1))).toBe(false);
    expect(bitEqual(array(7, 1, 2).subarray(1), array(1, 2))).toBe(true);
  });
});
