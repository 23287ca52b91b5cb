/** The patching functions: TransformerLens's names and axes, labels and baselines, closed forms. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import type { ActivationCache } from '../../../src/model/activation-cache.ts';
import { Model } from '../../../src/model/model.ts';
import { genericActivationPatch } from '../../../src/patching/sweep/act-patch.ts';
import * as patchFunctions from '../../../src/patching/sweep/act-patch-hooks.ts';
import { klDivergence, logitDiff, logitDistance, recovery } from '../../../src/patching/sweep/metrics.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const gqa = writeTinyCheckpoint({ attention: 'gqa' });
const mha = writeTinyCheckpoint({ attention: 'mha' });
const clean = [1, 5, 9, 33, 2, 70];
const corrupted = [1, 5, 40, 33, 2, 70];
const metric = logitDiff(7, 11);
const functions = { ...patchFunctions };
let model: Model;
let cache: ActivationCache;
beforeAll(async () => {
  model = await Model.open(gqa);
  ({ cache } = await model.runWithCache(clean));
});
afterAll(async () => {
  await model.release();
  for (const dir of [gqa, mha]) removeCheckpoint(dir);
});

describe('axes', () => {
  const [layers, positions, heads, kvHeads] = [2, 6, 4, 2];
  test.each([
    ['getActPatchResidPre', ['layer', 'pos'], [layers, positions]],
    ['getActPatchResidMid', ['layer', 'pos'], [layers, positions]],
    ['getActPatchAttnOut', ['layer', 'pos'], [layers, positions]],
    ['getActPatchMlpOut', ['layer', 'pos'], [layers, positions]],
    ['getActPatchAttnHeadOutByPos', ['layer', 'pos', 'head'], [layers, positions, heads]],
    ['getActPatchAttnHeadQByPos', ['layer', 'pos', 'head'], [layers, positions, heads]],
    ['getActPatchAttnHeadKByPos', ['layer', 'pos', 'kv_head'], [layers, positions, kvHeads]],
    ['getActPatchAttnHeadVByPos', ['layer', 'pos', 'kv_head'], [layers, positions, kvHeads]],
    ['getActPatchAttnHeadPatternByPos', ['layer', 'head', 'dest_pos'], [layers, heads, positions]],
    [
      'getActPatchAttnHeadPatternDestSrcPos',
      ['layer', 'head', 'dest_pos', 'src_pos'],
      [layers, heads, positions, positions],
    ],
    ['getActPatchAttnHeadOutAllPos', ['layer', 'head'], [layers, heads]],
    ['getActPatchAttnHeadQAllPos', ['layer', 'head'], [layers, heads]],
    ['getActPatchAttnHeadKAllPos', ['layer', 'kv_head'], [layers, kvHeads]],
    ['getActPatchAttnHeadVAllPos', ['layer', 'kv_head'], [layers, kvHeads]],
    ['getActPatchAttnHeadPatternAllPos', ['layer', 'head'], [layers, heads]],
  ] as const)('%s is %j of a grouped-query model', async (name, axes, shape) => {
    const result = await functions[name](model, corrupted, cache, metric);
    expect(result.axes.map((axis) => axis.name)).toEqual(axes);
    expect(result.values.shape).toEqual(shape);
    expect(result.axes.map(({ labels }) => labels.length)).toEqual(shape);
    expect(result.values.data.every(Number.isFinite)).toBe(true);
    expect(result.metric).toBe('logit-diff');
  });

  test('labels name layers, heads and tokens', async () => {
    const { axes } = await functions.getActPatchAttnHeadKByPos(model, corrupted, cache, metric);
    expect(axes.map(({ labels }) => labels)).toEqual([
      ['0', '1'],
      ['0:1', '1:5', '2:40', '3:33', '4:2', '5:70'],
      ['0', '1'],
    ]);
  });

  test('parts of a grouped-query model are labelled and not padded; of a multi-head model they stack', async () => {
    const parts = await functions.getActPatchAttnHeadAllPosEvery(model, corrupted, cache, metric);
    expect(parts.parts.map(({ name, result }) => [name, result.values.shape])).toEqual([
      ['z', [2, 4]],
      ['q', [2, 4]],
      ['k', [2, 2]],
      ['v', [2, 2]],
      ['pattern', [2, 4]],
    ]);
    expect(parts.stack).toBeNull();
    const other = await Model.open(mha);
    const { cache: own } = await other.runWithCache(clean);
    const byPos = await functions.getActPatchAttnHeadByPosEvery(other, corrupted, own, metric);
    expect(byPos.stack?.shape).toEqual([5, 2, 6, 4]);
    const pattern = await functions.getActPatchAttnHeadPatternByPos(other, corrupted, own, metric);
    expect(byPos.parts[4].result.axes.map(({ name }) => name)).toEqual(['layer', 'dest_pos', 'head']);
    for (const [layer, pos, head] of [
      [0, 3, 1],
      [1, 5, 2],
    ]) {
      expect(byPos.stack?.get(4, layer, pos, head)).toBe(pattern.values.get(layer, head, pos));
    }
    await other.release();
  });

  test('the parts of a sweep are the sweeps of the parts', async () => {
    const { parts, stack } = await functions.getActPatchBlockEvery(model, corrupted, cache, metric);
    const own = [functions.getActPatchResidPre, functions.getActPatchAttnOut, functions.getActPatchMlpOut];
    expect(stack?.shape).toEqual([3, 2, 6]);
    for (const [i, { result }] of parts.entries()) {
      const alone = await own[i](model, corrupted, cache, metric);
      expect(Array.from(result.values.data)).toEqual(Array.from(alone.values.data));
    }
  });
});

describe('closed forms', () => {
  test('the clean prompt patched with itself is the clean run, and no cell is run', async () => {
    const {
      values,
      clean: baseline,
      corrupted: base,
      method,
    } = await functions.getActPatchAttnOut(model, clean, cache, metric);
    expect(new Set(values.data)).toEqual(new Set([baseline]));
    expect(base).toBe(baseline);
    expect(method).toMatchObject({ cells: 12, vacuous: 12, resumed: 0, looped: 0 });
  });

  test('all rows of the residual stream before block 0 are the clean run', async () => {
    const target = { kind: 'resid_pre', axes: ['layer'] } as const;
    const {
      values,
      clean: baseline,
      corrupted: base,
    } = await genericActivationPatch(model, corrupted, cache, metric, target);
    expect(values.get(0)).toBe(baseline);
    expect(values.get(1)).toBe(baseline);
    expect(base).not.toBe(baseline);
  });

  test('positions before the first token that differs change nothing; the token itself, before block 0, everything', async () => {
    const result = await functions.getActPatchResidPre(model, corrupted, cache, metric);
    for (const layer of [0, 1]) for (const pos of [0, 1]) expect(result.values.get(layer, pos)).toBe(result.corrupted);
    expect(result.values.get(0, 2)).toBe(result.clean);
    expect(result.method.vacuous).toBe(2 + 2 + 3);
    const share = (layer: number, pos: number) => recovery(result.values.get(layer, pos), result);
    expect(share(0, 2)).toBe(1);
    expect(share(1, 0)).toBe(0);
  });

  test('baselines are the metric of both runs, and a function reads all rows', async () => {
    const { logits } = await model.runWithCache(corrupted);
    const sum = (all: { get(...index: number[]): number; shape: number[] }) =>
      all.get(0, 0, 3) + all.get(0, all.shape[1] - 1, 4);
    const result = await functions.getActPatchMlpOut(model, corrupted, cache, sum);
    expect(result.metric).toBe('sum');
    expect(result.corrupted).toBe(sum(logits!));
    expect(result.clean).toBe(sum(cache.get('logits')));
  });

  test('metrics', async () => {
    const cleanLogits = cache.get('logits');
    const kl = await functions.getActPatchResidPre(model, corrupted, cache, klDivergence(cleanLogits));
    const distance = await functions.getActPatchResidPre(model, corrupted, cache, logitDistance(cleanLogits));
    for (const result of [kl, distance]) {
      expect(result.clean).toBe(0);
      expect(result.corrupted).toBeGreaterThan(0);
      expect(result.values.get(0, 2)).toBe(0);
    }
    const { logits } = await model.runWithCache(corrupted);
    const row = (all: typeof logits) => Array.from({ length: 96 }, (_, i) => all!.get(0, 5, i));
    const logSoftmax = (z: number[]) => {
      const most = Math.max(...z);
      const total = Math.log(z.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most;
      return z.map((x) => x - total);
    };
    const [p, q] = [logSoftmax(row(cleanLogits)), logSoftmax(row(logits))];
    const expected = p.reduce((sum, lp, i) => sum + Math.exp(lp) * (lp - q[i]), 0);
    expect(kl.corrupted).toBeCloseTo(expected, 10);
    const difference = row(cleanLogits).map((x, i) => row(logits)[i] - x);
    const mean = difference.reduce((sum, x) => sum + x, 0) / 96;
    expect(distance.corrupted).toBeCloseTo(Math.hypot(...difference.map((x) => x - mean)), 10);
    expect(recovery(3, { clean: 5, corrupted: 1 })).toBe(0.5);
    expect(recovery(1, { clean: 1, corrupted: 1 })).toBeNull();
  });
});

describe('refusals', () => {
  const patch = functions.getActPatchResidPre;
  test('name what was found', async () => {
    await expect(patch(model, corrupted.slice(1), cache, metric)).rejects.toThrow(
      /6 positions and the corrupted prompt 5 tokens/,
    );
    const { cache: partial } = await model.runWithCache(clean, { namesFilter: 'logits' });
    await expect(patch(model, corrupted, partial, metric)).rejects.toThrow(
      /"blocks.0.hook_resid_pre"\): was not captured/,
    );
    await expect(patch(model, corrupted, cache, logitDiff(7, 96))).rejects.toThrow(/token id 96, expected 0 … 95/);
    await expect(patch(model, corrupted, cache, logitDiff(7, 9, { position: 6 }))).rejects.toThrow(UsageError);
    const generic = (kind: string, ...axes: ('layer' | 'pos' | 'head')[]) =>
      genericActivationPatch(model, corrupted, cache, metric, { kind, axes });
    await expect(generic('resid_past', 'layer')).rejects.toThrow(/no hook of kind "resid_past"/);
    await expect(generic('resid_pre', 'layer', 'head')).rejects.toThrow(/has no axis head/);
    await expect(generic('resid_pre', 'pos')).rejects.toThrow(/expected layer first/);
  });

  test('a clean run of another precision', async () => {
    const double = await Model.open(gqa, { precision: 'fp64' });
    const { cache: other } = await double.runWithCache(clean);
    await expect(patch(model, corrupted, other, metric)).rejects.toThrow(/another precision/);
    await double.release();
  });
});
