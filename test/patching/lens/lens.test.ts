/** The logit lens and direct logit attribution, against the model's own logits and sums. */
import { afterAll, describe, expect, test } from 'vitest';
import type { ModelType } from '../../../src/checkpoint/types.ts';
import { Model } from '../../../src/model/model.ts';
import { directLogitAttribution } from '../../../src/patching/lens/direct-logit-attribution.ts';
import { logitLens } from '../../../src/patching/lens/logit-lens.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const tokens = [1, 5, 9, 33, 2, 70];
const dirs: string[] = [];
const models: Model[] = [];
afterAll(async () => {
  for (const model of models) await model.release();
  for (const dir of dirs) removeCheckpoint(dir);
});

async function tiny(modelType: ModelType, precision: string, kernels = 'ort', tiedEmbeddings = false): Promise<Model> {
  const dir = writeTinyCheckpoint({ modelType, attention: 'gqa', tiedEmbeddings });
  const model = await Model.open(dir, { precision, kernels });
  dirs.push(dir);
  models.push(model);
  return model;
}

describe('logitLens', () => {
  test.each([
    ['llama', 'fp16', 'ort'],
    ['mistral', 'fp32', 'ort-unpacked'],
    ['gemma2', 'bf16', 'ort'],
  ] as const)('%s in %s, %s: after the last block it is the logits, bit for bit', async (type, precision, kernels) => {
    const model = await tiny(type, precision, kernels);
    const { logits, layers, positions } = await logitLens(model, tokens);
    expect(logits.shape).toEqual([3, 6, 96]);
    expect(layers).toEqual(['0_pre', '0_post', '1_post']);
    expect(positions[2]).toBe('2:9');
    const own = await model.runWithCache(tokens);
    expect(Array.from(logits.data.subarray(2 * 6 * 96))).toEqual(Array.from(own.logits!.data));
    const early = await model.runWithCache(tokens, { stopAtLayer: 1 });
    const rest = await model.executor.unembed(early.residual.data, 6, 'prefill', { hooks: new Set() });
    expect(Array.from(logits.data.subarray(6 * 96, 2 * 6 * 96))).toEqual(Array.from(rest.get('logits')!.data));
    const fromCache = await logitLens(model, own.cache);
    expect(Array.from(fromCache.logits.data)).toEqual(Array.from(logits.data));
  });
});

describe('directLogitAttribution', () => {
  test.each([
    ['llama', false],
    ['mistral', true],
    ['gemma2', true],
    ['qwen3', false],
  ] as const)('%s: components sum to the logit difference in float64, heads too', async (type, tied) => {
    const model = await tiny(type, 'fp64', 'ort', tied);
    for (const options of [{ wrong: 11 }, { wrong: 11, perHead: true }, {}, { position: 2, perHead: true }]) {
      const { contributions, total, remainder } = await directLogitAttribution(model, tokens, {
        answer: 7,
        ...options,
      });
      const { cache } = await model.runWithCache(tokens, { namesFilter: 'unembed.hook_out' });
      const row = options.position ?? 5;
      const logits = cache.get('unembed.hook_out');
      const expected = logits.get(0, row, 7) - ('wrong' in options ? logits.get(0, row, 11) : 0);
      expect(total).toBe(expected);
      const sum = contributions.reduce((partial, { value }) => partial + value, 0);
      expect(Math.abs(sum - expected)).toBeLessThan(1e-10);
      expect(Math.abs(remainder)).toBeLessThan(1e-10);
      expect(contributions.length).toBe(options.perHead ? 1 + 2 * 5 : 1 + 2 * 2);
    }
  });

  test('heads of a layer sum to its attention; names say where', async () => {
    const model = await tiny('gemma2', 'fp64');
    const whole = await directLogitAttribution(model, tokens, { answer: 7, wrong: 11 });
    const split = await directLogitAttribution(model, tokens, { answer: 7, wrong: 11, perHead: true });
    expect(whole.contributions.map(({ name }) => name)).toEqual(['embed', 'L0 attn', 'L0 mlp', 'L1 attn', 'L1 mlp']);
    expect(split.contributions.map(({ name }) => name).slice(1, 6)).toEqual(['L0H0', 'L0H1', 'L0H2', 'L0H3', 'L0 mlp']);
    for (const layer of [0, 1]) {
      const heads = split.contributions.filter((part) => part.kind === 'head' && part.layer === layer);
      const attention = whole.contributions.find((part) => part.kind === 'attn' && part.layer === layer);
      expect(heads.reduce((sum, { value }) => sum + value, 0)).toBeCloseTo(attention!.value, 10);
    }
  });

  test('what half precision rounds away is the remainder, not hidden in a component', async () => {
    const model = await tiny('llama', 'bf16');
    const { contributions, total, remainder } = await directLogitAttribution(model, tokens, { answer: 7, wrong: 11 });
    const sum = contributions.reduce((partial, { value }) => partial + value, 0);
    expect(sum + remainder).toBeCloseTo(total, 12);
    expect(Math.abs(remainder)).toBeGreaterThan(0);
    expect(Math.abs(remainder)).toBeLessThan(0.2);
  });
});
