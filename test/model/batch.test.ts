/** Blocks that run several sequences side by side, and blocks that return less than all, compute the same bits. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { pruned } from '../../src/graph/prune.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { captureNothing, Executor } from '../../src/model/executor.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', modelType: 'mistral' });
let executor: Executor;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(dir);
  executor = new Executor({ checkpoint, policy: resolvePolicy('fp16'), kernels: resolveKernels('ort'), threads: 1 });
});
afterAll(async () => {
  await executor.release();
  removeCheckpoint(dir);
});

const [width, rowSize, start, count, batch] = [64, 32, 5, 3, 3];
const wave = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i * seed)));
/** Representable in fp16. */
const half = (values: Float32Array) => values.map((x) => Math.round(x * 256) / 256);
const residual = half(wave(batch * count * width, 0.37));
const history = { keys: half(wave(batch * start * rowSize, 0.11)), values: half(wave(batch * start * rowSize, 0.23)) };
const part = (data: Float32Array | Float64Array, size: number, i: number) => data.slice(i * size, (i + 1) * size);

describe('a block', () => {
  test('on three sequences side by side gives each what it gives alone', async () => {
    const rows = { start, count, batch };
    const together = await executor.block(1, residual, rows, history, 'prefill', captureNothing);
    expect(together.residual.length).toBe(residual.length);
    for (let i = 0; i < batch; i++) {
      const past = { keys: part(history.keys, start * rowSize, i), values: part(history.values, start * rowSize, i) };
      const own = part(residual, count * width, i);
      const alone = await executor.block(1, own, { start, count }, past, 'prefill', captureNothing);
      expect(part(together.residual, count * width, i)).toEqual(alone.residual);
      expect(part(together.keys, count * rowSize, i)).toEqual(alone.keys);
      expect(part(together.values, count * rowSize, i)).toEqual(alone.values);
      const keysValues = await executor.keysValues(1, own, { start, count }, 'prefill');
      expect(keysValues.keys).toEqual(alone.keys);
      expect(keysValues.values).toEqual(alone.values);
    }
    expect(part(together.residual, count * width, 0)).not.toEqual(part(together.residual, count * width, 1));
  });

  test('that returns its output alone returns the same output', async () => {
    const rows = { start, count, batch };
    const whole = await executor.block(0, residual, rows, history, 'prefill', captureNothing);
    const less = await executor.block(0, residual, rows, history, 'prefill', { ...captureNothing, outputOnly: true });
    expect(less.residual).toEqual(whole.residual);
    expect([less.keys.length, less.values.length]).toEqual([0, 0]);
    const again = await executor.block(0, residual, rows, history, 'prefill', captureNothing);
    expect(again.keys).toEqual(whole.keys);
  });
});

describe('pruned', () => {
  test('leaves out what K and V do not depend on, and nothing of a whole block', () => {
    const none = new Set<string>();
    const keysValues = pruned(executor.graph({ block: 1 }, 'prefill', none));
    expect(keysValues.inputs.toSorted()).toEqual(['blocks.1.hook_resid_pre', 'rotary_cos', 'rotary_sin']);
    const weights = keysValues.model.graph!.initializer!.map(({ name }) => name ?? '');
    const projections = weights.filter((name) => name.includes('_proj'));
    expect(projections.map((name) => name.split('.').at(-2)).toSorted()).toEqual(['k_proj', 'v_proj']);
    expect(keysValues.operators.get('MatMul')).toBe(2);
    const whole = executor.graph({ block: 1 }, 'prefill', new Set(['blocks.1.hook_resid_post']));
    const same = pruned(whole);
    expect(same.model.graph!.node).toEqual(whole.model.graph!.node);
    expect(same.inputs).toEqual(whole.inputs);
    expect(same.operators).toEqual(whole.operators);
  });
});
