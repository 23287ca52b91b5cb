import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Arm } from '../../src/model/arms.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { describeFault, type Fault, parseFaults, readFaults } from '../../src/model/faults.ts';
import { causalMask, changedMask } from '../../src/model/positions.ts';
import { roundTo } from '../../src/numerics/half.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
const checkpoint = await openCheckpoint(dir);
const open = (precision = 'fp32') =>
  new Executor({ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels('ort'), threads: 1 });
const executor = open();
const target = { config: executor.config, policy: executor.policy };
const { headDim, kvHeads } = executor.config;
const prompt = [1, 17, 5, 88, 42];
const next = [7, 9, 30, 12, 64];

afterAll(async () => {
  await executor.release();
  removeCheckpoint(dir);
});

/** The cache of a cached arm after the prompt and `steps` forced steps. */
async function cacheAfter(faults: Fault[], steps: number, of = executor) {
  const arm = Arm.cached(of, prompt.length + steps, 1, 'decode', faults);
  const tokens = [...prompt];
  await arm.prefill(tokens, captureNothing);
  for (let step = 0; step < steps; step++) {
    tokens.push(next[step]);
    await arm.step(tokens, captureNothing);
  }
  return arm.cache;
}

describe('rows of the cache', () => {
  test('a scaled row differs in that head of that row alone, and only once it is history', async () => {
    const fault: Fault = { kind: 'scale-row', component: 'k', layer: 1, head: 1, row: 3, factor: 1.5 };
    const before = await cacheAfter([fault], 0);
    const after = await cacheAfter([fault], 1);
    const [written, read] = [before.view(1, 5), after.view(1, 5)];
    expect(read.values).toEqual(written.values);
    const expected = written.keys.slice();
    for (let i = 0; i < headDim; i++) expected[(3 * kvHeads + 1) * headDim + i] *= 1.5;
    expect(read.keys).toEqual(expected);
    expect((await cacheAfter([], 0)).view(1, 5).keys).toEqual(written.keys);
  });

  test('is scaled once, however many steps read it, and in a fork too', async () => {
    const fault: Fault = { kind: 'scale-row', component: 'v', layer: 0, head: 0, row: 2, factor: 3 };
    const [one, five] = [await cacheAfter([fault], 1), await cacheAfter([fault], 5)];
    expect(five.view(0, 3)).toEqual(one.view(0, 3));
    const arm = Arm.cached(executor, 10, 1, 'decode', [fault]);
    await arm.prefill(prompt, captureNothing);
    await arm.step([...prompt, 7], captureNothing);
    const fork = arm.fork(10, prompt.length + 1);
    await fork.step([...prompt, 7, 9], captureNothing);
    expect(fork.cache.view(0, 3)).toEqual(one.view(0, 3));
  });

  test('a stale row holds zeros, or what an earlier row holds', async () => {
    const zeros = await cacheAfter([{ kind: 'stale-row', component: 'both', layer: 0, row: 4 }], 1);
    const honest = (await cacheAfter([], 1)).view(0, 6);
    const size = headDim * kvHeads;
    const row = (data: { [i: number]: number; slice(a: number, b: number): ArrayLike<number> }, i: number) =>
      Array.from(data.slice(i * size, (i + 1) * size));
    expect(row(zeros.view(0, 6).keys, 4).every((value) => value === 0)).toBe(true);
    expect(row(zeros.view(0, 6).values, 4).every((value) => value === 0)).toBe(true);
    expect(row(zeros.view(0, 6).keys, 3)).toEqual(row(honest.keys, 3));
    const other = await cacheAfter([{ kind: 'stale-row', component: 'k', layer: 0, row: 4, head: 1, holds: 1 }], 1);
    const [found, before] = [row(other.view(0, 6).keys, 4), row(honest.keys, 4)];
    expect(found.slice(0, headDim)).toEqual(before.slice(0, headDim));
    expect(found.slice(headDim)).toEqual(row(honest.keys, 1).slice(headDim));
  });

  test('a narrower store rounds every row that is history', async () => {
    const cache = await cacheAfter([{ kind: 'store', component: 'both', type: 'bf16' }], 1);
    const honest = (await cacheAfter([], 0)).view(0, 5);
    expect(cache.view(0, 5).keys).toEqual(honest.keys.map((value) => roundTo('bf16', value)));
    expect(cache.view(0, 5).values).toEqual(honest.values.map((value) => roundTo('bf16', value)));
  });

  test('a scaled row holds numbers of the type the cache stores', async () => {
    const half = open('fp16');
    const fault: Fault = { kind: 'scale-row', component: 'k', layer: 0, head: 0, row: 1, factor: 1 + 2 ** -8 };
    const [found, honest] = [await cacheAfter([fault], 1, half), await cacheAfter([], 1, half)];
    const at = kvHeads * headDim;
    const row = Array.from(honest.view(0, 2).keys.slice(at, at + headDim));
    expect(Array.from(found.view(0, 2).keys.slice(at, at + headDim))).toEqual(
      row.map((value) => roundTo('f16', value * fault.factor)),
    );
    await half.release();
  });
});

describe('masks that are off by one key', () => {
  const seen = (window: number | null, change: Parameters<typeof changedMask>[4]) => {
    const mask = changedMask(causalMask('f32', 3, 2, window), 3, 2, window, change);
    return [0, 1].map((row) => [0, 1, 2, 3, 4].filter((key) => mask[row * 5 + key] === 0));
  };
  test.each([
    [
      'hide-newest',
      null,
      [
        [0, 1, 2],
        [0, 1, 2, 3],
      ],
    ],
    [
      'hide-oldest',
      null,
      [
        [1, 2, 3],
        [1, 2, 3, 4],
      ],
    ],
    [
      'hide-oldest',
      3,
      [
        [2, 3],
        [3, 4],
      ],
    ],
    [
      'show-older',
      3,
      [
        [0, 1, 2, 3],
        [1, 2, 3, 4],
      ],
    ],
    [
      'show-older',
      null,
      [
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
      ],
    ],
  ] as const)('%s, window %s', (change, window, expected) => {
    expect(seen(window, change)).toEqual(expected);
  });
});

describe('a file of faults', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'kvlens-faults-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const scale = { kind: 'scale-row', component: 'k', layer: 1, head: 1, row: 3, factor: 2 };
  test.each([
    [[], 'faults.json: faults:'],
    [{}, 'faults.json: faults:'],
    [[{ ...scale, layer: 2 }], 'faults.json: 0.layer: found 2, expected 0 … 1'],
    [[scale, { ...scale, head: 9 }], `faults.json: 1.head: found 9, expected 0 … ${kvHeads - 1}`],
    [[{ ...scale, row: 1e6 }], 'faults.json: 0.row: found 1000000'],
    [[{ ...scale, factor: 1 }], 'faults.json: 0.factor: found 1'],
    [[{ ...scale, factor: 'x' }], 'faults.json: 0.factor:'],
    [[{ ...scale, colour: 1 }], 'faults.json: 0:'],
    [[{ kind: 'stale-row', component: 'k', layer: 0, row: 3, holds: 3 }], 'faults.json: 0.holds: found 3'],
    [[{ kind: 'position', step: 1, offset: 0 }], 'faults.json: 0.offset: found 0'],
    [[{ kind: 'position', step: 0, offset: 1 }], 'faults.json: 0.step:'],
    [[{ kind: 'mask', change: 'show-older' }], 'faults.json: 0.change: found show-older'],
    [[{ kind: 'mask', change: 'other' }], 'faults.json: 0.change:'],
    [[{ kind: 'melt' }], 'faults.json: 0.kind:'],
  ])('%j is refused with its place', (value, message) => {
    expect(() => parseFaults(value, 'faults.json', target)).toThrow(message);
  });

  test('a store as wide as the cache is refused', () => {
    const store = [{ kind: 'store', component: 'both', type: 'f16' }];
    expect(() => parseFaults(store, 'f', { ...target, policy: resolvePolicy('fp16') })).toThrow('f: 0.type: found f16');
    expect(parseFaults(store, 'f', target)).toEqual(store);
  });

  test('is read, and what is no list of faults is named', () => {
    const file = join(folder, 'plant.json');
    writeFileSync(file, JSON.stringify([scale]));
    expect(readFaults(file, target)).toEqual([scale]);
    expect(readFaults(file, target).map(describeFault)).toEqual(['K row 3 of block 1, head 1 scaled by 2']);
    writeFileSync(file, '[');
    expect(() => readFaults(file, target)).toThrow(`${file}: not valid JSON`);
    expect(() => readFaults(join(folder, 'none'), target)).toThrow('(ENOENT)');
  });
});
