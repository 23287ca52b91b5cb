/** What counts as a difference between two runs. */
import { expect, test } from 'vitest';
import { type Captured, compareRuns, hookRows, Tally } from '../../../src/divergence/gates/difference.ts';
import type { Activation } from '../../../src/model/executor.ts';

function run(start: number, n: number, hooks: Record<string, Omit<Activation, 'dtype'>>): Captured {
  return { start, n, activations: new Map(Object.entries(hooks).map(([k, v]) => [k, { ...v, dtype: 'f32' }])) };
}

test('+0 and −0 are counted apart; NaN equals the same NaN; one changed bit differs', () => {
  const tally = new Tally();
  tally.add('logits', 'here', new Float32Array([0, NaN, 1]), new Float32Array([-0, NaN, 1]), 3);
  expect(tally).toMatchObject({ differ: 0, signedZero: 1, elements: 3, equal: true });
  tally.add('logits', 'there', new Float32Array([1, 2]), new Float32Array([1 + 2 ** -23, 2]), 2);
  expect(tally).toMatchObject({ differ: 1, equal: false });
  expect(tally.describe()).toMatch(
    /^1 of 5 elements differ, 1 signed zeros apart, worst row .*first logits, there: 1 of 2$/,
  );
});

test('in float64 the low and the high word count, and a row may differ by 1e-12', () => {
  const tally = new Tally(1e-12);
  tally.add('logits', '', new Float64Array([1, 2]), new Float64Array([1 + 2 ** -52, 2]), 2);
  expect(tally).toMatchObject({ differ: 1, equal: true });
  tally.add('logits', '', new Float64Array([1, 2, 5, 5]), new Float64Array([1, 2, 5, 5.0000001]), 2);
  expect(tally.equal).toBe(false);
});

test('NaN against a number is a difference under any tolerance', () => {
  const tally = new Tally(1e-12);
  tally.add('logits', '', new Float64Array([NaN, 1]), new Float64Array([1, 1]), 2);
  expect(tally.equal).toBe(false);
  const infinite = new Tally(1e-12);
  infinite.add('logits', '', new Float64Array([Infinity, 1]), new Float64Array([1, 1]), 2);
  expect(infinite.equal).toBe(false);
});

test('rows are matched by absolute position, and scores only on the keys both runs have', () => {
  const scores = 'blocks.0.attn.hook_attn_scores';
  // two heads, rows 1 and 2 of 3 keys against rows 0 … 3 of 4 keys
  const short = run(1, 3, {
    [scores]: { data: new Float32Array([10, 11, -9, 20, 21, 22, 30, 31, -9, 40, 41, 42]), dims: [1, 2, 2, 3] },
  });
  const data = new Float32Array(32).fill(-7);
  data.set([10, 11, -9, -9], 4);
  data.set([20, 21, 22, -9], 8);
  data.set([30, 31, -9, -9], 20);
  data.set([40, 41, 42, -9], 24);
  const long = run(0, 4, { [scores]: { data, dims: [1, 2, 4, 4] } });
  const tally = new Tally();
  compareRuns(tally, [scores], short, long, { from: 1, to: 3 });
  expect(tally).toMatchObject({ elements: 12, differ: 0 });
  expect([...hookRows(long, scores, { from: 2, to: 3 })]).toEqual([20, 21, 22, 40, 41, 42]);
});

test('a hook that was not captured, or rows that were not run, are bugs', () => {
  const empty = run(0, 2, {});
  expect(() => hookRows(empty, 'logits', { from: 0, to: 1 })).toThrow('logits was not captured');
  const one = run(1, 2, { logits: { data: new Float32Array(4), dims: [1, 1, 4] } });
  expect(() => hookRows(one, 'logits', { from: 0, to: 1 })).toThrow('rows 0 … 0 were not run');
});
