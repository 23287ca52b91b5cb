/** The uncached arm as rows of one forward is recomputation, bit for bit, at every hook and step. */
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { type Hook, modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { rowAt, rowCount } from '../../src/model/activation-rows.ts';
import { Arm, type ArmStep } from '../../src/model/arms.ts';
import type { FloatArray } from '../../src/model/arrays.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { forwardBytes, stepRows } from '../../src/model/forward-rows.ts';
import { executorOptions } from '../divergence/planted.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) removeCheckpoint(dir);
});

async function tiny(options: TinyOptions, precision: string, kernels = 'ort'): Promise<Executor> {
  const dir = writeTinyCheckpoint(options);
  dirs.push(dir);
  return new Executor(await executorOptions(dir, precision, kernels));
}

/** Bits, so that NaN and signed zeros count. */
function bits(a: FloatArray): string {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('latin1');
}

/** The newest rows of each hook, as many as `of` ran, and what else a step gives. */
function stepBits(step: ArmStep, of: ArmStep, hooks: readonly Hook[]): [string, string][] {
  const rows = hooks.flatMap((hook): [string, string][] => {
    const found = step.activations.get(hook.name)!;
    const [count, wanted] = [rowCount(hook, found), rowCount(hook, of.activations.get(hook.name)!)];
    return Array.from({ length: wanted }, (_, i) => {
      const index = count - wanted + i;
      return [`${hook.name} ${i} ${found.dtype}`, bits(rowAt(hook, found, index))];
    });
  });
  return [['logits', bits(step.logits)], ['residual', bits(step.residual)], ...rows];
}

/** Compare every step of one forward with recomputation and with two-row decoding; K/V rows at the end too. */
async function compare(executor: Executor, tokens: readonly number[], promptLength: number, rows = 2): Promise<number> {
  const hooks = modelHooks(executor.config);
  const capture = { hooks: new Set(hooks.map(({ name }) => name)) };
  const arms = {
    forward: Arm.ofForward(executor, tokens, rows),
    recompute: Arm.uncached(executor, tokens.length, 'recompute'),
    standIn: Arm.uncached(executor, tokens.length, 'stand-in', rows),
  };
  let steps = 0;
  for (let n = promptLength; n <= tokens.length; n++) {
    const run = (arm: Arm) =>
      n === promptLength ? arm.prefill(tokens.slice(0, n), capture) : arm.step(tokens.slice(0, n), capture);
    const [found, honest, decoded] = [await run(arms.forward), await run(arms.recompute), await run(arms.standIn)];
    expect([found.n, found.start]).toEqual([decoded.n, decoded.start]);
    expect([...found.activations.keys()].sort()).toEqual([...capture.hooks].sort());
    for (const [name, { dims }] of decoded.activations) expect(found.activations.get(name)!.dims).toEqual(dims);
    const own = stepBits(found, found, hooks);
    for (const other of [honest, decoded]) {
      const theirs = stepBits(other, found, hooks);
      const differing = own.filter(([, value], i) => value !== theirs[i][1]).map(([name]) => name);
      expect([n, differing]).toEqual([n, []]);
    }
    steps += 1;
  }
  for (const layer of executor.blocks) {
    const [found, honest] = [arms.forward, arms.recompute].map((arm) => arm.cache.view(layer, tokens.length));
    expect(bits(found.keys)).toBe(bits(honest.keys));
    expect(bits(found.values)).toBe(bits(honest.values));
  }
  await executor.release();
  return steps;
}

const presets = ['ort', 'ort-unpacked', 'folded', 'split-k:8:storage', 'split-kv:16'];

describe.each(embeddedModels())('$name', ({ dir }) => {
  test.each(presets.flatMap((kernels) => ['fp32', 'fp16', 'bf16'].map((precision) => [kernels, precision] as const)))(
    '%s, %s: every step and hook equals recomputation and two-row decoding',
    async (kernels, precision) => {
      const checkpoint = await openCheckpoint(dir);
      const options = { checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 };
      const executor = new Executor(options);
      const windows = checkpoint.config.slidingWindows.filter((window) => window !== null);
      // Past a sliding window, and over the edge of a block of 64 keys.
      const promptLength = Math.max(62, ...windows) + 1;
      const tokens = Array.from({ length: promptLength + 3 }, (_, i) => (i * 7919 + 3) % checkpoint.config.vocabSize);
      expect(await compare(executor, tokens, promptLength)).toBe(4);
    },
  );
});

const tokens = Array.from({ length: 22 }, (_, i) => 1 + ((i * 37 + 5) % 95));

test.each<[string, TinyOptions, number, number]>([
  ['a prompt of one token is run by itself', { attention: 'gqa' }, 1, 2],
  ['a prompt of two tokens', { attention: 'gqa' }, 2, 2],
  ['three rows per step', { attention: 'mqa' }, 5, 3],
  ['Gemma-2, its window', { modelType: 'gemma2', attention: 'gqa' }, 6, 2],
  ['Mistral, its window', { modelType: 'mistral', attention: 'gqa' }, 6, 2],
  ['Qwen3, its norms', { modelType: 'qwen3' }, 6, 2],
  ['heads of 256, keys in blocks', { headDim: 256, layers: 1 }, 12, 2],
])('%s', async (_, options, promptLength, rows) => {
  for (const precision of ['fp32', 'bf16']) {
    const executor = await tiny({ ...options, maxPositions: 32 }, precision);
    expect(await compare(executor, tokens, promptLength, rows)).toBe(tokens.length - promptLength + 1);
  }
});

test('it makes one pass through the model, whatever the number of steps', async () => {
  const executor = await tiny({}, 'fp16');
  const arm = Arm.ofForward(executor, tokens);
  await arm.prefill(tokens.slice(0, 4), captureNothing);
  for (let n = 5; n <= tokens.length; n++) await arm.step(tokens.slice(0, n), captureNothing);
  expect(executor.passes.unembed.list()).toEqual([{ rows: tokens.length, past: 0, count: 1 }]);
  await executor.release();
});

test('other tokens, other hooks, patches and resumed steps are refused', async () => {
  const executor = await tiny({}, 'fp16');
  const arm = Arm.ofForward(executor, tokens);
  await expect(arm.prefill([1, 2, 3], captureNothing)).rejects.toThrow(/tokens that were given/);
  await expect(arm.prefill([...tokens, 1], captureNothing)).rejects.toThrow(/tokens that were given/);
  await arm.prefill(tokens.slice(0, 4), captureNothing);
  const others = { hooks: new Set(['logits']) };
  await expect(arm.step(tokens.slice(0, 5), others)).rejects.toThrow(/other hooks/);
  const value = { data: new Float32Array(1), dims: [1, 1, 1] };
  const patch = { hook: 'hook_embed', mask: { data: Uint8Array.of(1), dims: [1, 1, 1] }, value };
  const patched = { ...captureNothing, patches: [patch] };
  await expect(arm.step(tokens.slice(0, 5), patched)).rejects.toThrow(/cannot be patched/);
  const resume = { layer: 1, residual: new Float32Array(1) };
  await expect(arm.step(tokens.slice(0, 5), captureNothing, resume)).rejects.toThrow(/cannot resume/);
  await executor.release();
});

test('rows of scores are cut to the keys that were there', () => {
  const data = Float32Array.from({ length: 2 * 3 * 3 }, (_, i) => i); // 2 heads, 3 queries, 3 keys
  const found = stepRows('blocks.0.attn.hook_pattern', { data, dims: [1, 2, 3, 3], dtype: 'f32' }, 0, 2);
  expect(found.dims).toEqual([1, 2, 2, 2]);
  expect([...found.data]).toEqual([0, 1, 3, 4, 9, 10, 12, 13]);
});

test('the estimate is what a forward captures', async () => {
  const executor = await tiny({ modelType: 'gemma2', attention: 'gqa' }, 'fp16');
  const hooks = new Set(modelHooks(executor.config).map(({ name }) => name));
  const arm = Arm.ofForward(executor, tokens);
  const { activations } = await arm.prefill(tokens, { hooks });
  const bytes = [...activations].reduce((sum, [name, { data }]) => {
    return name.includes('hook_cache_') ? sum : sum + data.byteLength;
  }, 0);
  expect(forwardBytes(executor, executor.policy, hooks, tokens.length)).toBe(bytes);
  expect(forwardBytes(executor, executor.policy, new Set(), tokens.length)).toBe(0);
  await executor.release();
});
