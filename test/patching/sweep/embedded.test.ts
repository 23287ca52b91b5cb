/** Sweeps on the models that ship, and a clean/corrupted pair on which they have something to find. */
import { afterAll, describe, expect, test } from 'vitest';
import { Model } from '../../../src/model/model.ts';
import { genericActivationPatch, patchTargets } from '../../../src/patching/sweep/act-patch.ts';
import { getActPatchAttnOut } from '../../../src/patching/sweep/act-patch-hooks.ts';
import type { PatchTarget } from '../../../src/patching/sweep/grid.ts';
import { type LogitMetric, logitDiff, recovery } from '../../../src/patching/sweep/metrics.ts';
import type { SweepMode } from '../../../src/patching/sweep/sweep-runner.ts';
import { differing } from './loop.ts';

const models: Model[] = [];
afterAll(async () => {
  for (const model of models) await model.release();
});

const targets: PatchTarget[] = [
  { kind: 'resid_pre', axes: ['layer', 'pos'] },
  { kind: 'mlp_out', axes: ['layer', 'pos'] },
  { kind: 'attn.z', axes: ['layer', 'head'] },
  { kind: 'attn.v', axes: ['layer', 'kv_head'] },
  { kind: 'attn.pattern', axes: ['layer', 'head'] },
];

describe.each(['mini-llama', 'mini-mistral', 'mini-gemma2'])('%s', (name) => {
  test.each(['fp16', 'fp32', 'bf16'])(
    '%s: the logits of every cell are those of a full pass, bit for bit',
    async (precision) => {
      const model = await Model.open(name, { precision });
      models.push(model);
      const clean = model.toTokens('Tom has 3 apples and gets 4.\n');
      const corrupted = model.toTokens('Sam has 3 apples and gets 5.\n');
      const { cache } = await model.runWithCache(clean);
      const seen = async (method: SweepMode) => {
        const logits: number[][] = [];
        const metric: LogitMetric = {
          name: 'recorder',
          reads: [-1, 4],
          evaluate: (rows) => logits.push(Array.from(rows.data)) - 1,
        };
        const results = await patchTargets(model, corrupted, cache, metric, targets, { method });
        return {
          cells: results.flatMap(({ values }) => Array.from(values.data, (i) => logits[i])),
          method: results[0].method,
        };
      };
      const [resumed, loop] = [await seen('batched'), await seen('loop')];
      expect(resumed.method).toMatchObject({ mode: 'batched', reason: null, looped: 0 });
      expect(loop.method).toMatchObject({ mode: 'loop', resumed: 0 });
      expect(loop.method.looped).toBe(resumed.method.resumed);
      expect(resumed.cells.filter((logits, i) => differing(logits, loop.cells[i]) > 0)).toEqual([]);
    },
  );
});

test('mini-llama tells two names apart: attention in its last block brings the right one back', async () => {
  const problem = (buyer: string, giver: string) =>
    `${buyer} wants to buy a watch that costs $276. He saves $23 a week for 8 weeks and gets $31 from ${giver}. How much more money does he need?\n`;
  const model = await Model.open('mini-llama');
  models.push(model);
  const [clean, corrupted] = [problem('Tom', 'Sam'), problem('Sam', 'Tom')].map((text) => model.toTokens(text));
  const { cache } = await model.runWithCache(clean);
  const metric = logitDiff(clean[1], corrupted[1]);
  const result = await getActPatchAttnOut(model, corrupted, cache, metric);
  expect(result.clean).toBeGreaterThan(5);
  expect(result.corrupted).toBeLessThan(-5);
  const last = clean.length - 1;
  expect(recovery(result.values.get(5, last), result)).toBeGreaterThan(0.5);
  expect(recovery(result.values.get(0, last), result)).toBeLessThan(0.1);
  const all = await genericActivationPatch(model, corrupted, cache, metric, { kind: 'attn_out', axes: ['layer'] });
  expect(recovery(all.values.get(0), all)).toBeGreaterThan(0.2);
});
