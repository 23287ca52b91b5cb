/**
 * How many roundings each stage has, counted by hand from Hugging Face's half-precision code and not from the builder:
 * one that is dropped, or made twice, changes the count.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Stage } from '../../src/graph/build.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { dataTypes } from '../../src/graph/onnx/messages.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor } from '../../src/model/executor.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const tiny = writeTinyCheckpoint({ attention: 'gqa' });
afterAll(() => removeCheckpoint(tiny));
const gemma = sharedPath('data', 'models', 'trial-gemma2');

async function roundings(dir: string, precision: string, stage: Stage): Promise<number> {
  const checkpoint = await openCheckpoint(dir);
  const executor = new Executor({
    ...{ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels('ort'), threads: 1 },
  });
  const { operators } = executor.graph(stage, 'decode', new Set(['blocks.0.hook_resid_post', 'logits']));
  const type = precision.startsWith('bf16') ? dataTypes.bfloat16 : dataTypes.float16;
  return operators.get(`Cast(${type})`) ?? 0;
}

/** Two norms of two roundings, seven linears, rotary of q and k, scores, softmax, P·V, SiLU and its product, two sums. */
const llamaBlock = 2 * 2 + 7 + 2 * 3 + 2 + 1 + 1 + 2 + 2;

describe('LLaMA', () => {
  test.each([
    ['fp32', 0, 0],
    ['fp16', llamaBlock, 3],
    ['bf16', llamaBlock, 3],
    // Scores, scaling and softmax are inside one rounding.
    ['fp16-sdpa', llamaBlock - 3, 3],
    ['bf16-sdpa', llamaBlock - 3, 3],
  ])('%s: %i in a block, %i after it', async (precision, block, unembed) => {
    expect(await roundings(tiny, precision, { block: 0 })).toBe(block);
    expect(await roundings(tiny, precision, 'unembed')).toBe(unembed);
  });
});

/** Four norms of one rounding, seven linears, rotary, scores, soft-cap of three, softmax, P·V, GELU and its product, sums. */
const gemmaBlock = 4 + 7 + 2 * 3 + 2 + 3 + 1 + 1 + 2 + 2;

test.skipIf(gemma === null)('Gemma-2: one in a norm, three in each soft-cap', async () => {
  expect(await roundings(String(gemma), 'fp16', { block: 0 })).toBe(gemmaBlock);
  expect(await roundings(String(gemma), 'fp16', 'unembed')).toBe(1 + 1 + 3);
});
