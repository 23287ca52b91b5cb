/** A clean/corrupted experiment as rows: distances and recoveries, and what holds by construction really holds. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findHook, hookName } from '../../../src/graph/hooks.ts';
import { Model } from '../../../src/model/model.ts';
import { type CellDistance, runCleanCorrupted } from '../../../src/patching/sweep/clean-corrupted.ts';
import { cutsEveryPath } from '../../../src/patching/sweep/cut-paths.ts';
import type { PatchTarget } from '../../../src/patching/sweep/grid.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { differing, patchedByHand } from './loop.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
const clean = [1, 5, 9, 33, 2, 70];
const names = { condition: 'fp16', prompt: 'p', spec: 'names' };
const grids: PatchTarget[] = [
  { kind: 'resid_pre', axes: ['layer', 'pos'] },
  { kind: 'resid_mid', axes: ['layer', 'pos'] },
  { kind: 'resid_post', axes: ['layer', 'pos'] },
  { kind: 'resid_pre', axes: ['layer'] },
  { kind: 'attn.v', axes: ['layer', 'pos', 'kv_head'] },
  { kind: 'attn.pattern', axes: ['layer', 'head', 'dest_pos'] },
];
let model: Model;
beforeAll(async () => {
  model = await Model.open(dir);
});
afterAll(async () => {
  await model.release();
  removeCheckpoint(dir);
});

const run = (corrupted: number[], options = {}) =>
  runCleanCorrupted({ model, clean, corrupted, grids, ...names, ...options });

test('a row says where it is, and how far the logits are from the clean run with and without the patch', async () => {
  const corrupted = [1, 5, 40, 33, 2, 70];
  const { rows, base, differing: positions } = await run(corrupted);
  expect(positions).toEqual([2]);
  expect(rows.length).toBe(3 * 12 + 2 + 2 * 6 * 2 + 2 * 4 * 6);
  const at = (hook: string, start: number, head: number | null = null) =>
    rows.find((row) => row.hook === hook && row.pos_start === start && row.pos_end === start + 1 && row.head === head)!;
  const value = at('blocks.1.attn.hook_v', 3, 1);
  expect(value).toMatchObject({ ...names, step: 0, horizon: 0, layer: 1, component: 'v', kernel: 'prefill' });
  const { cache } = await model.runWithCache(clean);
  const byHand = await patchedByHand(model, corrupted, cache, value.hook, ([, pos, head]) => pos === 3 && head === 1);
  const last = (logits: { data: ArrayLike<number> }) => Array.from(logits.data).slice(-96);
  const centred = (a: number[], b: number[]) => {
    const difference = a.map((x, i) => x - b[i]);
    const mean = difference.reduce((sum, x) => sum + x, 0) / 96;
    return Math.hypot(...difference.map((x) => x - mean));
  };
  const target = last(cache.get('logits'));
  const distance = centred(last(byHand), target);
  expect(value.distance_patched).toBeCloseTo(distance, 10);
  expect(value.distance_base).toBe(base.distance);
  expect(value.recovery).toBeCloseTo(1 - distance / base.distance, 10);
  expect(value.exact).toBe(differing(last(byHand), target) === 0);
  expect(at('blocks.0.hook_resid_pre', 2)).toMatchObject({ recovery: 1, recovery_kl: 1, exact: true, vacuous: false });
  expect(at('blocks.1.hook_resid_pre', 1)).toMatchObject({ recovery: 0, vacuous: true, harmful: false });
  expect(
    rows.find((row) => row.hook === 'blocks.1.hook_resid_pre' && row.pos_end === 6 && row.pos_start === 0),
  ).toMatchObject({
    recovery: 1,
    by_construction: true,
  });
});

test.each([
  ['one token', [1, 5, 40, 33, 2, 70]],
  ['the last token', [1, 5, 9, 33, 2, 71]],
  ['two tokens', [1, 6, 9, 33, 2, 71]],
])(
  '%s: what is by construction is exact, and nothing else of the residual stream in a random model',
  async (_, corrupted) => {
    const { rows } = await run(corrupted);
    const certain = rows.filter((row) => row.by_construction);
    expect(certain.length).toBeGreaterThan(0);
    for (const row of certain) expect(row.exact, row.hook).toBe(true);
    const stream = rows.filter((row) => row.hook.includes('resid') && !row.by_construction);
    expect(stream.filter((row) => row.exact)).toEqual([]);
  },
);

test('attention and MLP outputs cut no path, whatever differs', () => {
  const hook = findHook(hookName('attn_out', 0), model.config)!;
  expect(cutsEveryPath({ hook, at: {} }, [5], 6, 2)).toBe(false);
});

describe('two equal prompts', () => {
  test('have nothing to recover', async () => {
    const { rows, base, method } = await run(clean);
    expect(base).toMatchObject({ distance: 0, kl: 0, differ: 0, metric: 0 });
    expect(method.resumed).toBe(0);
    for (const row of rows)
      expect(row).toMatchObject({ recovery: null, recovery_kl: null, exact: true, vacuous: true, harmful: false });
  });
});

test('an interrupted run goes on from its cells and ends with the same rows', async () => {
  const tail = [8, 3, 4, 17, 21, 90, 50, 51];
  const prompts = { clean: [...clean, ...tail], corrupted: [1, 5, 40, 33, 2, 70, ...tail] };
  const finished = new Map<string, CellDistance>();
  const whole = await run([], prompts);
  const controller = new AbortController();
  const onCell = ({ key, value }: { key: string; value: CellDistance }) => {
    finished.set(key, value);
    if (finished.size > whole.method.vacuous) controller.abort();
  };
  await expect(run([], { ...prompts, onCell, signal: controller.signal })).rejects.toThrow(/interrupted/);
  expect(finished.size).toBeLessThan(whole.rows.length);
  const journal: [string, CellDistance][] = JSON.parse(JSON.stringify([...finished]));
  const rest = await run([], { ...prompts, finished: new Map(journal) });
  expect(rest.method.given).toBe(finished.size);
  expect(rest.rows).toEqual(whole.rows);
});
