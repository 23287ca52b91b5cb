/** What a floor is made of: matmuls that really are x Wᵀ, sums over forward calls, and processes measured from outside. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readCalls, teacherForcedCalls } from '../../bench/calls.mts';
import { readThrough } from '../../bench/disk.mts';
import { arithmeticSeconds, attentionShare, measureGemm, openMatmul } from '../../bench/gemm.mts';
import { interpolate } from '../../bench/statistics.mts';
import { runMeasured } from '../../bench/whole-process.mts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { Tensor } from '../../src/model/onnxruntime.ts';
import { readSafetensors } from '../reference/safetensors.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-floor-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(['F32', 'BF16', 'F16'] as const)(
  'the measured session multiplies by the transposed %s weight',
  async (dtype) => {
    const dir = writeTinyCheckpoint({ dtype });
    const key = 'model.layers.0.mlp.up_proj.weight';
    const session = await openMatmul(await openCheckpoint(dir), key, 1);
    const { shape, data } = readSafetensors(join(dir, 'model.safetensors')).get(key)!;
    const [out, width] = shape;
    const x = Float32Array.from({ length: 3 * width }, (_, i) => Math.sin(i));
    const { y } = await session.run({ x: new Tensor('float32', x, [1, 3, width]) });
    await session.release();
    removeCheckpoint(dir);
    expect(y.dims).toEqual([1, 3, out]);
    const found = y.data as Float32Array;
    for (let row = 0; row < 3; row++) {
      for (let j = 0; j < out; j++) {
        let sum = 0;
        for (let i = 0; i < width; i++) sum += x[row * width + i] * data[j * width + i];
        expect(Math.abs(found[row * out + j] - sum)).toBeLessThan(1e-4);
      }
    }
  },
);

test('every number of rows is measured, for the block and for the head', async () => {
  const dir = writeTinyCheckpoint();
  const gemm = await measureGemm(await openCheckpoint(dir), { rows: [1, 5], threads: 1, repetitions: 2 });
  removeCheckpoint(dir);
  for (const part of [gemm.block, gemm.head]) {
    expect([...part.keys()]).toEqual([1, 5]);
    for (const seconds of part.values()) expect(seconds).toBeGreaterThan(0);
  }
});

test('arithmetic is the sum over calls of layers · block + head', async () => {
  const dir = writeTinyCheckpoint({ layers: 3 });
  const checkpoint = await openCheckpoint(dir);
  removeCheckpoint(dir);
  const gemm = {
    ...{ block: new Map([[1, 2], [3, 4]]), head: new Map([[1, 10], [3, 30]]), blockLoad: 0, headLoad: 0 },
  }; // biome-ignore format: a table
  const seconds = (calls: Parameters<typeof arithmeticSeconds>[2]) => arithmeticSeconds(checkpoint.config, gemm, calls);
  expect(seconds([{ rows: 1, past: 5, count: 2 }])).toBe(2 * (3 * 2 + 10));
  expect(seconds([{ rows: 2, past: 0, count: 1 }])).toBe(3 * 3 + 20);
  expect(seconds([{ rows: 3, past: 0, count: 1, logits: 1 }])).toBe(3 * 4 + 10);
  expect(seconds([{ rows: 3, past: 0, count: 1, logits: 0 }])).toBe(3 * 4);
  // Four heads of 16 on a width of 64 with an MLP of 136: one row that reads four keys.
  const parameters = 4 * 64 * 64 + 3 * 64 * 136;
  expect(attentionShare(checkpoint, [{ rows: 1, past: 3, count: 7 }])).toBeCloseTo((2 * 4 * 64) / parameters, 12);
});

test('between measured sizes a straight line, outside in proportion', () => {
  const points = new Map([[64, 8], [2, 1], [80, 12]]); // biome-ignore format: a table
  expect([1, 2, 33, 64, 72, 80, 160].map((x) => interpolate(points, x))).toEqual([0.5, 1, 4.5, 8, 10, 12, 24]);
});

test('a teacher-forced run of 64 + 16 tokens: both arms, eight recomputations, two repeats, one pass over all', () => {
  const calls = teacherForcedCalls(64, 16);
  const count = (rows: number) => calls.filter((call) => call.rows === rows).reduce((sum, call) => sum + call.count, 0);
  expect([64, 2, 1, 65, 72, 73, 79].map(count)).toEqual([2, 15, 15 + 8 + 8, 1, 1, 0, 1]);
  // The uncached arm's two rows end where the cached arm's one row does.
  const ends = (rows: number) => calls.filter((call) => call.rows === rows).map((call) => call.past + rows);
  expect(ends(2)).toEqual(Array.from({ length: 15 }, (_, i) => 65 + i));
  expect(ends(1).slice(0, 15)).toEqual(ends(2));
});

test('a list of calls that is none says what one looks like', () => {
  const file = join(folder, 'calls.json');
  writeFileSync(file, '[{"rows": 64, "past": 0, "count": 1}]');
  expect(readCalls(file)).toEqual([{ rows: 64, past: 0, count: 1 }]);
  writeFileSync(file, '[{"rows": 0, "past": 0, "count": 1}]');
  expect(() => readCalls(file)).toThrow(/0\.rows.*expected \[\{"rows": 64/);
});

test('files are read from begin to end, in order', () => {
  const files = ['a', 'b'].map((name, i) => {
    writeFileSync(join(folder, name), Buffer.alloc(9_000_000, i + 1));
    return join(folder, name);
  });
  const counts = [0, 0, 0];
  const { bytes } = readThrough(files, (block) => {
    for (const value of block) counts[value] += 1;
  });
  expect({ bytes, counts }).toEqual({ bytes: 18_000_000, counts: [0, 9_000_000, 9_000_000] });
});

test.skipIf(process.platform !== 'linux')("memory and time are the process's own and its children's", async () => {
  const hold = (megabytes: number) => `const b = Buffer.alloc(${megabytes}e6, 1); setTimeout(() => b, 700);`;
  const alone = await runMeasured(process.execPath, ['-e', `${hold(300)} console.log('said')`]);
  expect(alone).toMatchObject({ exitCode: 0, stdout: 'said\n' });
  expect(alone.seconds).toBeGreaterThan(0.7);
  expect(alone.peakBytes).toBeGreaterThan(300e6);
  expect(alone.peakBytes).toBeLessThan(500e6);
  const child = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(hold(300))}]);`;
  const parent = await runMeasured(process.execPath, ['-e', child]);
  expect(parent.peakBytes).toBeLessThan(200e6);
  expect(parent.peakSumBytes).toBeGreaterThan(300e6);
  expect(parent.peakAnonymousBytes).toBeGreaterThan(300e6);
  expect(parent.cpuSeconds).toBeGreaterThan(0);
  expect((await runMeasured(process.execPath, ['-e', 'process.exit(3)'])).exitCode).toBe(3);
});
