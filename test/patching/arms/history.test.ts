/** Composed histories against brute force: every element of every row is looked up by itself. */
import { afterAll, expect, test } from 'vitest';
import { KVCache } from '../../../src/model/kv-cache.ts';
import { CacheLog } from '../../../src/patching/arms/cache-log.ts';
import { type Component, composeHistory, differingElements, wholeHistory } from '../../../src/patching/arms/history.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf } from './traces.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));
const shape = { layers: 3, kvHeads: 2, headDim: 16, compute: 'f32' } as const;
const rows = 9;

/** A cache whose every element says where it is: arm, component, layer, row, head, index. */
function labelled(arm: number): KVCache {
  const cache = new KVCache(shape, rows);
  for (let layer = 0; layer < shape.layers; layer++) {
    const label = (component: number) =>
      Float32Array.from({ length: rows * 32 }, (_, i) => arm * 1e6 + component * 1e5 + layer * 1e4 + i);
    cache.write(layer, 0, label(0), label(1));
  }
  return cache;
}

test.each<[Component, number[], number[], number[]]>([
  ['k', [1], [0], [2, 5]],
  ['v', [0, 2], [0, 1], [0]],
  ['both', [0, 1, 2], [1], [0, 1, 2, 3, 4, 5, 6, 7]],
  ['both', [], [0], [1]],
])(
  '%s of layers %j, heads %j, positions %j come from the donor, all else from the base',
  async (component, layers, heads, positions) => {
    const executor = await executorOf(dir);
    const [base, donor] = [labelled(1), labelled(2)];
    const selection = { component, layers, heads, positions };
    const n = rows;
    const { history, changed } = composeHistory(executor, { base, donor, selection, n, capacity: 12 });
    let expected = 0;
    for (let layer = 0; layer < shape.layers; layer++) {
      for (const [part, name] of [
        ['keys', 'k'],
        ['values', 'v'],
      ] as const) {
        for (let i = 0; i < (n - 1) * 32; i++) {
          const [row, head] = [Math.floor(i / 32), Math.floor((i % 32) / 16)];
          const taken =
            layers.includes(layer) &&
            heads.includes(head) &&
            positions.includes(row) &&
            [name, 'both'].includes(component);
          if (taken) expected += 1;
          expect(history.view(layer, n - 1)[part][i]).toBe((taken ? donor : base).view(layer, n)[part][i]);
        }
      }
    }
    expect(changed).toBe(expected);
    expect(differingElements(executor, base, history, wholeHistory(executor, n))).toBe(expected);
    expect(base.view(0, 1).keys[0]).toBe(1e6); // the base is left as it is
  },
);

test('a number fills the selection, and equal rows count as no change', async () => {
  const executor = await executorOf(dir);
  const base = labelled(1);
  const selection = { component: 'k' as const, layers: [2], heads: [1], positions: [3] };
  const zeroed = composeHistory(executor, { base, donor: 0, selection, n: rows, capacity: rows });
  expect(zeroed.changed).toBe(16);
  const kept = composeHistory(executor, { base, donor: labelled(1), selection, n: rows, capacity: rows });
  expect(kept.changed).toBe(0);
});

test('the row a step writes itself is no part of its history', async () => {
  const executor = await executorOf(dir);
  const selection = { component: 'both' as const, layers: [0], heads: [0], positions: [rows - 1] };
  expect(() => composeHistory(executor, { base: labelled(1), donor: 0, selection, n: rows, capacity: rows })).toThrow(
    /row 8 was selected/,
  );
});

test('a row that changes after it was written is found as each step read it', async () => {
  const executor = await executorOf(dir);
  const cache = new KVCache(shape, 6);
  const log = new CacheLog(executor, cache);
  const write = (row: number, value: number) => {
    for (let layer = 0; layer < 3; layer++)
      cache.write(layer, row, new Float32Array(32).fill(value), new Float32Array(32));
  };
  for (let row = 0; row < 3; row++) write(row, row + 1);
  log.observe(3);
  write(3, 4);
  write(1, 50); // the step of four tokens loses row 1
  log.observe(4);
  write(4, 5);
  write(1, 60);
  log.observe(5);
  const row = (n: number, at: number) => log.before(n).view(1, n - 1).keys[at * 32];
  expect([row(4, 1), row(5, 1), row(6, 1)]).toEqual([2, 50, 60]);
  expect([row(4, 2), row(5, 3), row(6, 4)]).toEqual([3, 4, 5]);
  expect(log.changedRows).toBe(3);
});
