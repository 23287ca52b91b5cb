/** The rotary embedding in TypeScript against the graphs', bit for bit. */
import { afterAll, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor } from '../../src/model/executor.ts';
import { forward } from '../../src/model/plans.ts';
import { rotateRow } from '../../src/model/positions.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const models = {
  llama: writeTinyCheckpoint({ layers: 1, attention: 'gqa' }),
  qwen3: writeTinyCheckpoint({ layers: 1, modelType: 'qwen3', attention: 'gqa', headDim: 32 }),
};
afterAll(() => Object.values(models).forEach(removeCheckpoint));
const cases = ['fp32', 'fp16', 'bf16', 'fp16-sdpa', 'fp64'].flatMap((precision) => [
  ['llama', precision, 'blocks.0.attn.hook_k'] as const,
  ['qwen3', precision, 'blocks.0.attn.k_norm.hook_out'] as const,
]);

test.each(cases)('%s in %s: %s rotated is hook_rot_k at every position', async (model, precision, before) => {
  const checkpoint = await openCheckpoint(models[model]);
  const kernels = resolveKernels('ort');
  const executor = new Executor({ checkpoint, policy: resolvePolicy(precision), kernels, threads: 1 });
  const tokens = Array.from({ length: 20 }, (_, i) => (7 * i + 3) % 90);
  const { activations } = await forward(executor, {
    ...{ tokens, start: 0, cache: executor.newCache(20), kernel: 'prefill' },
    capture: { hooks: new Set([before, 'blocks.0.attn.hook_rot_k']) },
  });
  const given = activations.get(before)!.data;
  const rotated = activations.get('blocks.0.attn.hook_rot_k')!.data;
  const size = given.length / tokens.length;
  for (let position = 0; position < tokens.length; position++) {
    const row = rotateRow(given.subarray(position * size, (position + 1) * size), position, executor);
    expect([...row]).toEqual([...rotated.subarray(position * size, (position + 1) * size)]);
  }
  await executor.release();
});
