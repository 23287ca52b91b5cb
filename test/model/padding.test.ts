/** Left padding of the cached arm: the same mathematics in other shapes. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { centredDistance } from '../../src/divergence/metrics/logits.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Arm, type CachedArmOptions } from '../../src/model/arms.ts';
import type { FloatArray } from '../../src/model/arrays.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { causalMask, changedMask } from '../../src/model/positions.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const folders = new Map<string, string>();
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const folder of folders.values()) removeCheckpoint(folder);
});

async function open(tiny: TinyOptions, precision: string, kernels = 'ort'): Promise<Executor> {
  const key = JSON.stringify(tiny);
  const dir = folders.get(key) ?? writeTinyCheckpoint(tiny);
  folders.set(key, dir);
  const executor = new Executor({
    ...{ checkpoint: await openCheckpoint(dir), policy: resolvePolicy(precision), kernels: resolveKernels(kernels) },
    threads: 1,
  });
  executors.push(executor);
  return executor;
}

const tokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11, 4, 9, 77, 8];
const promptLength = 5;

/** Logits of every step of a cached arm over `tokens`; after half of them a fork goes on. */
async function decode(executor: Executor, options: CachedArmOptions, rows = 1) {
  let arm = Arm.cached(executor, tokens.length, rows, options);
  const logits: FloatArray[] = [(await arm.prefill(tokens.slice(0, promptLength), captureNothing)).logits];
  for (let n = promptLength + 1; n <= tokens.length; n++) {
    if (n === 9) arm = arm.fork(tokens.length, n - 1);
    logits.push((await arm.step(tokens.slice(0, n), captureNothing)).logits);
  }
  return { logits, cache: arm.cache };
}

const norm = (row: FloatArray) => centredDistance(row, row.slice().fill(0));

describe.each([
  ['multi-head', { attention: 'mha' }],
  ['grouped-query', { attention: 'gqa' }],
  ['a sliding window, soft-caps, wide heads', { modelType: 'gemma2', headDim: 136 }],
] as const)('%s', (_, tiny) => {
  test.each([1, 3, 70])('%d rows of padding change no logit by more than 1e-12 in fp64', async (padding) => {
    const executor = await open(tiny, 'fp64');
    for (const rows of [1, 2]) {
      const plain = await decode(executor, {}, rows);
      const padded = await decode(executor, { padding }, rows);
      padded.logits.forEach((row, step) => {
        expect(centredDistance(row, plain.logits[step]) / norm(plain.logits[step])).toBeLessThan(1e-12);
      });
      // Rows are found by their positions, wherever the padding lies.
      for (const layer of executor.blocks) {
        const [own, other] = [padded.cache.view(layer, tokens.length), plain.cache.view(layer, tokens.length)];
        expect(centredDistance(own.keys, other.keys) / norm(other.keys)).toBeLessThan(1e-12);
      }
    }
  });

  test('in fp32 some logits differ, which is what it is for', async () => {
    const executor = await open(tiny, 'fp32');
    const [plain, padded] = [await decode(executor, {}), await decode(executor, { padding: 70 })];
    expect(padded.logits.map((row) => [...row])).not.toEqual(plain.logits.map((row) => [...row]));
  });
});

test('under split-KV kernels and with faults it is the same mathematics too', async () => {
  const executor = await open({ modelType: 'gemma2' }, 'fp64', 'split-kv:4');
  const faults: CachedArmOptions['faults'] = [
    { kind: 'stale-row', component: 'both', layer: 1, row: 3 },
    { kind: 'scale-row', component: 'k', layer: 0, head: 0, row: 6, factor: 1.5 },
    { kind: 'position', step: 2, offset: 3 },
    { kind: 'mask', step: 4, change: 'hide-oldest' },
    { kind: 'mask', step: 5, change: 'show-older' },
    { kind: 'mask', step: 6, change: 'hide-newest' },
  ];
  const honest = await decode(executor, {});
  const plain = await decode(executor, { faults });
  const padded = await decode(executor, { faults, padding: 5 });
  padded.logits.forEach((row, step) => {
    expect(centredDistance(row, plain.logits[step]) / norm(plain.logits[step])).toBeLessThan(1e-12);
    if (step > 0) expect(centredDistance(plain.logits[step], honest.logits[step])).toBeGreaterThan(1e-6);
  });
});

describe('masks', () => {
  const seen = (mask: FloatArray, columns: number) =>
    Array.from({ length: mask.length / columns }, (_, row) =>
      Array.from({ length: columns }, (_, key) => key).filter((key) => mask[row * columns + key] === 0),
    );

  test('no row of the sequence sees padding; padding sees itself, or its softmax would be NaN', () => {
    expect(seen(causalMask('f32', -2, 5, null, 2), 5)).toEqual([[0], [0, 1], [2], [2, 3], [2, 3, 4]]);
    expect(seen(causalMask('f32', 3, 2, 2, 2), 7)).toEqual([
      [4, 5],
      [5, 6],
    ]);
  });

  test('a planted fault moves the same key with padding as without', () => {
    for (const change of ['hide-newest', 'hide-oldest', 'show-older'] as const) {
      const plain = seen(changedMask(causalMask('f32', 4, 1, 3), 4, 1, 3, change), 5);
      const padded = seen(changedMask(causalMask('f32', 4, 1, 3, 6), 4, 1, 3, change, 6), 11);
      expect(padded).toEqual(plain.map((keys) => keys.map((key) => key + 6)));
    }
  });
});
