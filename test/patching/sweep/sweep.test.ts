/** A sweep's cells are patched runs, bit for bit, whatever is patched and however they were computed. */
import { afterAll, describe, expect, test } from 'vitest';
import type { ModelType } from '../../../src/checkpoint/types.ts';
import { type Axis, definitionOf } from '../../../src/graph/hooks.ts';
import { Model } from '../../../src/model/model.ts';
import { genericActivationPatch } from '../../../src/patching/sweep/act-patch.ts';
import type { PatchAxis } from '../../../src/patching/sweep/grid.ts';
import type { LogitMetric } from '../../../src/patching/sweep/metrics.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { differing, indicesOf, patchedByHand } from './loop.ts';

const clean = [1, 5, 9, 33, 2, 70, 12, 8];
const corrupted = [1, 5, 9, 40, 2, 70, 13, 8];
const dirs: string[] = [];
const models: Model[] = [];
afterAll(async () => {
  for (const model of models) await model.release();
  for (const dir of dirs) removeCheckpoint(dir);
});

async function tiny(modelType: ModelType, precision: string, kernels = 'ort'): Promise<Model> {
  const dir = writeTinyCheckpoint({ modelType, attention: modelType === 'llama' ? 'mha' : 'gqa', layers: 3 });
  dirs.push(dir);
  const model = await Model.open(dir, { precision, kernels });
  models.push(model);
  return model;
}

/** The logits of the rows that are read, kept, with a number that depends on all of them. */
function recorder(reads: LogitMetric['reads']) {
  const seen: number[][] = [];
  const metric: LogitMetric = {
    name: 'recorder',
    reads,
    evaluate: (logits) => seen.push(Array.from(logits.data)) - 1,
  };
  return { metric, seen };
}

const hookAxis: Record<PatchAxis, Axis | null> = {
  ...{ layer: null, pos: 'pos', head: 'head', kv_head: 'kv_head', dest_pos: 'query', src_pos: 'key' },
};

/** Compare every cell of a sweep with the run by hand. */
async function expectExact(model: Model, kind: string, axes: PatchAxis[], reads: LogitMetric['reads']) {
  const { cache } = await model.runWithCache(clean);
  const { metric, seen } = recorder(reads);
  const result = await genericActivationPatch(model, corrupted, cache, metric, { kind, axes });
  let cells = 0;
  for (const index of indicesOf(result.values.shape)) {
    const hook = model.hookNames.filter((name) => name.endsWith(kind.replace(/([^.]+)$/, 'hook_$1')))[index[0]];
    const definition = definitionOf(hook)?.axes ?? [];
    const wanted = axes.map((axis) => (axis === 'layer' ? -1 : definition.indexOf(hookAxis[axis]!)));
    const logits = await patchedByHand(model, corrupted, cache, hook, (at) =>
      wanted.every((position, i) => position < 0 || at[position] === index[i]),
    );
    const [, rows, vocabulary] = logits.shape;
    const own = seen[result.values.get(...index)];
    const rowsRead =
      reads === 'all'
        ? Array.from({ length: rows }, (_, row) => row)
        : reads.map((row) => (row < 0 ? row + rows : row));
    const expected = rowsRead.flatMap((row) =>
      Array.from(logits.data.subarray(row * vocabulary, (row + 1) * vocabulary)),
    );
    expect(differing(own, expected), `${hook} ${index.join()}`).toBe(0);
    cells += 1;
  }
  return { result, cells };
}

const targets: [kind: string, axes: PatchAxis[]][] = [
  ['resid_pre', ['layer', 'pos']],
  ['resid_mid', ['layer', 'pos']],
  ['resid_post', ['layer', 'pos']],
  ['attn_out', ['layer', 'pos']],
  ['mlp_out', ['layer', 'pos']],
  ['mlp.post', ['layer', 'pos']],
  ['ln1.normalized', ['layer', 'pos']],
  ['attn.z', ['layer', 'pos', 'head']],
  ['attn.q', ['layer', 'pos', 'head']],
  ['attn.k', ['layer', 'pos', 'kv_head']],
  ['attn.v', ['layer', 'pos', 'kv_head']],
  ['attn.rot_k', ['layer', 'kv_head']],
  ['attn.pattern', ['layer', 'head', 'dest_pos']],
  ['attn.attn_scores', ['layer', 'head']],
  ['attn.z', ['layer', 'head']],
  ['attn.k', ['layer', 'kv_head']],
];

describe.each([
  ['llama', 'fp16', 'ort'],
  ['mistral', 'bf16', 'ort-unpacked'],
  ['gemma2', 'fp32', 'ort'],
] as const)('%s in %s, %s: every cell equals the run by hand, bit for bit', (modelType, precision, kernels) => {
  test.each(targets)('%s by %s', async (kind, axes) => {
    const model =
      models.find(({ config }) => config.modelType === modelType) ?? (await tiny(modelType, precision, kernels));
    const last = await expectExact(model, kind, axes, [-1]);
    expect(last.result.method).toMatchObject({ mode: 'batched', reason: null, looped: 0 });
    // The first three tokens are the same: patches there change nothing.
    if (axes.includes('pos')) expect(last.result.method.vacuous).toBeGreaterThanOrEqual((last.cells * 3) / 8);
    const all = await expectExact(model, kind, axes, kind === 'attn.z' ? [2, -3] : 'all');
    expect(all.result.method).toMatchObject({ mode: 'batched', reason: null });
  });
});
