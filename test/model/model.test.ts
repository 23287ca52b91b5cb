/** The model as a researcher uses it: names, axes, hook functions and partial runs mean what they say. */
import ndarray, { type NdArray } from 'ndarray';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../src/errors.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import type { FloatArray } from '../../src/model/arrays.ts';
import { Model } from '../../src/model/model.ts';
import { type RotaryTables, rotaryTables } from '../../src/model/positions.ts';
import { representable } from '../../src/numerics/half.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
let model: Model;
beforeAll(async () => {
  model = await Model.open(dir);
});
afterAll(async () => {
  await model.release();
  removeCheckpoint(dir);
});

const tokens = [1, 5, 9, 33, 2, 70];
const values = (array: NdArray<FloatArray> | null) => Array.from(array!.data);
const differing = (a: NdArray<FloatArray> | null, b: NdArray<FloatArray> | null) =>
  values(a).filter((x, i) => !Object.is(x, values(b)[i])).length;

describe('rotary tables of another implementation', () => {
  const open = async (tables?: RotaryTables) => {
    const [policy, kernels] = [resolvePolicy('fp16'), resolveKernels('ort')];
    return Model.from({ checkpoint: model.checkpoint, policy, kernels, ...(tables ? { tables } : {}) });
  };
  const logitsWith = async (tables: RotaryTables) => {
    const other = await open(tables);
    const { logits } = await other.runWithCache(tokens);
    await other.release();
    return logits;
  };

  test('are what the graphs read: those of the configuration change no bit, a turned position does', async () => {
    const own = rotaryTables(model.config, resolvePolicy('fp16'), tokens.length);
    const { logits } = await model.runWithCache(tokens);
    expect(differing(await logitsWith(own), logits)).toBe(0);
    const [cos, sin] = [own.cos.slice(), own.sin.slice()];
    cos.fill(1, model.config.headDim);
    sin.fill(0, model.config.headDim);
    expect(differing(await logitsWith({ cos, sin }), logits)).toBeGreaterThan(0);
  });

  test('limit the positions that can be run', async () => {
    const own = rotaryTables(model.config, resolvePolicy('fp16'), tokens.length - 1);
    await expect(logitsWith(own)).rejects.toThrow('position 5: rotary tables have 5 rows, expected one per position');
  });

  test('must fit the model and hold numbers of the policy’s type', async () => {
    const { headDim } = model.config;
    const row = new Float32Array(headDim).fill(0.5);
    await expect(open({ cos: row, sin: row.subarray(1) })).rejects.toThrow(UsageError);
    await expect(open({ cos: row, sin: new Float32Array(headDim).fill(0.1) })).rejects.toThrow(
      /expected numbers of type f16/,
    );
  });
});

describe('runWithCache', () => {
  test("activations have TransformerLens's names and axis orders", async () => {
    const { logits, cache } = await model.runWithCache(tokens);
    expect(logits?.shape).toEqual([1, 6, 96]);
    expect(cache.get('resid_post', 1).shape).toEqual([1, 6, 64]);
    expect(cache.get('blocks.0.attn.hook_q').shape).toEqual([1, 6, 4, 16]);
    expect(cache.get('attn.k', 0).shape).toEqual([1, 6, 2, 16]);
    expect(cache.get('blocks.0.attn.hook_pattern').shape).toEqual([1, 4, 6, 6]);
    expect(cache.get('attn.cache_v', -1).shape).toEqual([1, 6, 2, 16]);
    expect(values(cache.get('logits'))).toEqual(values(logits));
  });

  test('all hooks but the opt-in ones are captured, in execution order', async () => {
    const { cache } = await model.runWithCache(tokens);
    expect(cache.names).toEqual(model.hookNames.filter((name) => !name.endsWith('hook_result')));
  });

  test('aliases name the same activation', async () => {
    const { cache } = await model.runWithCache(tokens);
    const residual = values(cache.get('resid_post', 1));
    expect(values(cache.get('blocks.1.hook_out'))).toEqual(residual);
    expect(values(cache.get('model.layers.1'))).toEqual(residual);
    expect(values(cache.get('hook_resid_post', 1))).toEqual(residual);
  });

  test('namesFilter chooses by glob, list or function', async () => {
    const names = async (namesFilter: string | string[] | ((name: string) => boolean)) =>
      (await model.runWithCache(tokens, { namesFilter })).cache.names;
    const wanted = ['blocks.0.hook_resid_post', 'blocks.1.hook_resid_post'];
    expect(await names('*.hook_resid_post')).toEqual(wanted);
    expect(await names(wanted)).toEqual(wanted);
    expect(await names((name) => name.endsWith('hook_resid_post'))).toEqual(wanted);
    expect(await names('blocks.0.attn.hook_result')).toEqual(['blocks.0.attn.hook_result']);
  });

  test('what was not captured, or is no hook, is refused by name', async () => {
    const { cache } = await model.runWithCache(tokens, { namesFilter: 'logits' });
    expect(() => cache.get('resid_post', 0)).toThrow(/was not captured/);
    expect(() => cache.get('resid_past', 0)).toThrow(/is no hook/);
    expect(() => cache.get('resid_post', 2)).toThrow(UsageError);
    expect(cache.has('resid_post', 0)).toBe(false);
  });

  test('the heads of hook_result add up to attn_out', async () => {
    const { cache } = await model.runWithCache(tokens, {
      namesFilter: ['blocks.1.attn.hook_result', 'blocks.1.hook_attn_out'],
    });
    const result = cache.get('attn.result', 1);
    const out = cache.get('attn_out', 1);
    for (let pos = 0; pos < 6; pos++) {
      for (let i = 0; i < 64; i++) {
        let sum = 0;
        for (let head = 0; head < 4; head++) sum += result.get(0, pos, head, i);
        expect(Math.abs(sum - out.get(0, pos, i))).toBeLessThan(2e-3);
      }
    }
  });

  test('accumulatedResid stacks the stream before, between and after the blocks', async () => {
    const { cache } = await model.runWithCache(tokens);
    const { stack, labels } = cache.accumulatedResid();
    expect(labels).toEqual(['0_pre', '0_post', '1_post']);
    expect(stack.shape).toEqual([3, 1, 6, 64]);
    expect(stack.get(2, 0, 5, 7)).toBe(cache.get('resid_post', 1).get(0, 5, 7));
  });
});

describe('partial runs', () => {
  test('stopAtLayer returns the residual stream, and startAtLayer goes on from it', async () => {
    const whole = await model.runWithCache(tokens);
    const stopped = await model.runWithCache(tokens, { stopAtLayer: 1 });
    expect(stopped.logits).toBeNull();
    expect(values(stopped.residual)).toEqual(values(whole.cache.get('resid_pre', 1)));
    expect(stopped.cache.names.some((name) => name.startsWith('blocks.1'))).toBe(false);
    const resumed = await model.runWithCache(stopped.residual, { startAtLayer: 1 });
    expect(values(resumed.logits)).toEqual(values(whole.logits));
    const last = await model.runWithCache(tokens, { stopAtLayer: -1 });
    expect(values(last.residual)).toEqual(values(stopped.residual));
  });

  test('past continues where it ended, as the cached arm does', async () => {
    const past = model.newPast();
    await model.runWithCache(tokens.slice(0, 4), { past });
    await model.runWithCache(tokens.slice(4, 5), { past });
    const { cache } = await model.runWithCache(tokens.slice(5), { past });
    expect(past.length).toBe(6);
    expect(cache.get('attn.cache_k', 0).shape).toEqual([1, 6, 2, 16]);
    expect(cache.get('attn.rot_k', 0).shape).toEqual([1, 1, 2, 16]);
    const whole = await model.runWithCache(tokens);
    const newest = cache.get('logits');
    for (let i = 0; i < 96; i++) expect(newest.get(0, 0, i)).toBeCloseTo(whole.logits!.get(0, 5, i), 1);
  });

  test.each([
    ['an empty input', [], {}, /found no token/],
    ['a token the model does not have', [96], {}, /found token id 96, expected 0 … 95/],
    ['more tokens than the context', Array(65).fill(1), {}, /found 65 tokens, expected at most 64/],
    ['a layer that is not there', [1], { stopAtLayer: 3 }, /stopAtLayer: found 3/],
    ['tokens for startAtLayer', [1], { startAtLayer: 1 }, /must be a residual stream/],
    ['a text without a tokenizer', 'Hello', {}, /has no tokenizer\.json/],
  ])('%s is refused', async (_, input, options, says) => {
    await expect(model.runWithCache(input, options)).rejects.toThrow(says);
  });

  test('a residual stream of another width is refused', async () => {
    const wrong = ndarray(new Float32Array(32), [1, 1, 32]);
    await expect(model.runWithCache(wrong, { startAtLayer: 1 })).rejects.toThrow(/expected \[1, pos, 64\]/);
  });
});

describe('runWithHooks', () => {
  test('functions that change nothing change nothing', async () => {
    const { logits } = await model.runWithCache(tokens);
    const seen: string[] = [];
    const observed = await model.runWithHooks(tokens, [['*', (_, { name }) => void seen.push(name)]]);
    expect(seen).toEqual(model.hookNames.filter((name) => !name.endsWith('hook_result')));
    expect(values(observed.logits)).toEqual(values(logits));
  });

  test('a value may be changed in place, or another returned', async () => {
    const zeroed = await model.runWithHooks(tokens, [['blocks.0.hook_attn_out', (value) => void value.data.fill(0)]], {
      namesFilter: 'all',
    });
    const returned = await model.runWithHooks(tokens, [
      ['blocks.0.hook_attn_out', (value) => ndarray(new Float32Array(value.size), value.shape)],
    ]);
    expect(values(zeroed.cache.get('resid_mid', 0))).toEqual(values(zeroed.cache.get('resid_pre', 0)));
    expect(values(returned.logits)).toEqual(values(zeroed.logits));
    expect(differing(zeroed.logits, (await model.runWithCache(tokens)).logits)).toBeGreaterThan(100);
  });

  test('a residual stream patched in whole carries the other run with it', async () => {
    const other = [3, 6, 10, 34, 4, 71];
    const { logits, cache } = await model.runWithCache(other);
    const source = cache.get('resid_post', 0);
    const patched = await model.runWithHooks(tokens, [['blocks.0.hook_resid_post', () => source]]);
    expect(values(patched.logits)).toEqual(values(logits));
  });

  test('later functions see what earlier ones caused', async () => {
    let seen: number[] = [];
    await model.runWithHooks(tokens, [
      [
        'blocks.0.hook_resid_mid',
        (value) => {
          seen = Array.from(value.data);
        },
      ],
      ['blocks.0.hook_attn_out', (value) => void value.data.fill(0)],
    ]);
    const { cache } = await model.runWithCache(tokens);
    expect(seen).toEqual(values(cache.get('resid_pre', 0)));
  });

  test('hook_cache_k is what attention reads, past rows included', async () => {
    const past = model.newPast();
    await model.runWithCache(tokens.slice(0, 5), { past });
    const { cache } = await model.runWithHooks(
      tokens.slice(5),
      [['blocks.0.attn.hook_cache_k', (value) => void value.data.fill(0)]],
      { past, namesFilter: 'blocks.0.attn.hook_pattern' },
    );
    // Keys of zero give equal scores, so the pattern is uniform over the six rows.
    const pattern = cache.get('attn.pattern', 0);
    expect(pattern.shape).toEqual([1, 4, 1, 6]);
    for (const share of values(pattern)) expect(share).toBeCloseTo(1 / 6, 3);
  });

  test('new values are rounded to what the policy stores', async () => {
    const { cache } = await model.runWithHooks(
      tokens,
      [
        [
          'blocks.0.hook_resid_post',
          (value) =>
            ndarray(
              value.data.map((x) => x + 1 / 3),
              value.shape,
            ),
        ],
      ],
      { namesFilter: '*.hook_resid_p*' },
    );
    const stored = values(cache.get('resid_pre', 1));
    expect(stored.every((x) => representable('f16', x))).toBe(true);
    expect(stored).toEqual(values(cache.get('resid_post', 0)));
  });

  test('a value of another shape is refused by the name of its hook', async () => {
    const wrong = model.runWithHooks(tokens, [['hook_embed', () => ndarray(new Float32Array(4), [1, 1, 4])]]);
    await expect(wrong).rejects.toThrow(
      /hook_embed: a hook function returned shape \[1, 1, 4\], expected \[1, 6, 64\]/,
    );
  });
});
