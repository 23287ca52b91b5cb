/** A comparison is of the same computation, in pairs, and a target is met by its median ratio. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { cases, fitting, requestOf } from '../../bench/peers/cases.mts';
import { Worker } from '../../bench/peers/client.mts';
import { isMet, type Outcome, ratioOf, table } from '../../bench/peers/outcome.mts';
import { digestOf, relativeDifference, type WorkerRequest } from '../../bench/peers/protocol.mts';
import { Model } from '../../src/model/model.ts';

const dir = fileURLToPath(new URL('../../data/checkpoints/mini-llama', import.meta.url));
const tokens = [1, 17, 44, 90];
const request: WorkerRequest = {
  ...{ peer: 'kvlens', task: 'prefill', checkpoint: dir, graphs: '', threads: 1, precision: 'fp32' },
  ...{ tokens, forced: [], corrupted: [], answers: [5, 7], checkLoop: false },
};

test('a ratio is the median of the pairs, not the ratio of medians', () => {
  const measured = { kvlens: [1, 2, 4], other: [3, 4, 40] };
  expect(ratioOf(measured)).toEqual({ median: 3, least: 2, most: 10 });
  expect(isMet({ ...measured, target: 3 })).toBe(true);
  expect(isMet({ ...measured, target: 3.01 })).toBe(false);
  expect(isMet({ ...measured, target: null })).toBeNull();
});

test('times that are no pairs have no ratio', () => {
  expect(() => ratioOf({ kvlens: [1, 2], other: [1] })).toThrow('found 2 and 1 times, expected pairs');
  expect(() => ratioOf({ kvlens: [], other: [] })).toThrow('expected pairs');
});

test('results agree relative to their largest number, and never by being something else', () => {
  expect(relativeDifference([100, 1], [100, 1.01])).toBeCloseTo(1e-4, 12);
  expect(relativeDifference([0, 0], [0, 0])).toBe(0);
  expect(relativeDifference([1, 2], [1])).toBe(Number.POSITIVE_INFINITY);
  expect(relativeDifference([], [])).toBe(Number.POSITIVE_INFINITY);
  expect(relativeDifference([Number.NaN], [Number.NaN])).toBe(Number.POSITIVE_INFINITY);
});

test('a digest holds sixteen numbers from all of a result', () => {
  const numbers = Array.from({ length: 512 }, (_, i) => i);
  expect(digestOf(numbers)).toEqual(Array.from({ length: 16 }, (_, i) => i * 32));
  expect(digestOf([4, 5])).toEqual([4, 5]);
});

test('what is run fits the context, and the two prompts of a sweep differ where they say', () => {
  const config = { vocabSize: 512, maxPositions: 64 };
  const sizes = fitting({ prefill: 128, sweep: 12, steps: 50 }, config);
  expect(sizes).toEqual({ prefill: 64, sweep: 12, steps: 32 });
  for (const which of cases) {
    const { tokens: prompt, forced, corrupted } = requestOf(which, config, sizes);
    expect(prompt.length + forced.length).toBeLessThanOrEqual(64);
    expect([...prompt, ...forced, ...corrupted].every((token) => token >= 0 && token < 512)).toBe(true);
    const differ = corrupted.filter((token, i) => token !== prompt[i]).length;
    expect(differ).toBe(which.task !== 'sweep' ? 0 : which.differs === 'one token' ? 1 : 12);
  }
});

test('the table says by how much, against whom, and whether a target was met', () => {
  const outcome: Outcome = {
    ...{
      model: 'm',
      case: 'decode, all hooks',
      peer: 'transformers',
      threads: 1,
      kvlens: [0.1, 0.1],
      other: [0.2, 0.4],
    },
    ...{ parts: 10, target: 3, difference: 0, versions: {}, notes: [] },
    kept: { kvlens: { tensors: 3, bytes: 2e6 }, other: null },
  };
  const row = table([outcome]).split('\n')[2];
  expect(row).toContain('| 10.0 ms | 30.0 ms | **3.00** | 2.00–4.00 (2) | 2.0 / – | ≥ 3: met |');
  expect(table([{ ...outcome, target: 3.1 }])).toContain('≥ 3.1: missed');
});

test('a worker answers with the model’s logits, and with the same at every run', async () => {
  const model = await Model.open('mini-llama', { precision: 'fp32' });
  const { logits } = await model.runWithCache(tokens);
  const expected = Array.from({ length: model.config.vocabSize }, (_, i) => logits!.get(0, tokens.length - 1, i));
  await model.release();
  const worker = new Worker(request);
  const ready = await worker.ready();
  const ran = await worker.go();
  await worker.close();
  expect(ready.result).toEqual(expected);
  expect(ran.digest).toEqual(digestOf(expected));
  expect(ran.seconds).toBeGreaterThan(0);
  // Activations of four rows: six blocks of 12 kinds at least 128 wide.
  expect(ready.kept!.bytes).toBeGreaterThan(6 * 12 * 4 * 128 * 4);
});

test('decode steps of a worker end where one pass over all tokens ends', async () => {
  const [prompt, forced] = [tokens.slice(0, 2), tokens.slice(2)];
  const results = [];
  for (const part of [{ task: 'decode', tokens: prompt, forced } as const, { task: 'forward' } as const]) {
    const worker = new Worker({ ...request, ...part });
    results.push((await worker.ready()).result);
    await worker.close();
  }
  expect(relativeDifference(results[0], results[1])).toBeLessThan(1e-4);
});

test('a worker says what it cannot do', async () => {
  const worker = new Worker({ ...request, checkpoint: '/nowhere' });
  await expect(worker.ready()).rejects.toThrow('kvlens: MODEL "/nowhere" is neither');
  await worker.close();
});
