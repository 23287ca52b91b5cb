import { afterAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor } from '../../src/model/executor.ts';
import { addOrderMatched, orderMatched } from '../../src/study/order-matched.ts';
import { WrongLogitsOnce, WrongStandIn } from '../divergence/planted.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
afterAll(() => removeCheckpoint(dir));
const options = {
  checkpoint: await openCheckpoint(dir),
  policy: resolvePolicy('fp16'),
  kernels: resolveKernels('split-k:4:storage'),
  threads: 1,
};
const tokens = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11, 4, 9];

describe('order-matched decoding over a prompt', () => {
  it("is recomputation bit for bit, under the prefill's kernel whatever the decode kernel is", async () => {
    const executor = new Executor(options);
    expect(await orderMatched(executor, tokens, 5)).toEqual({ steps: 7, differingElements: 0, distance: 0 });
    await executor.release();
  });

  it('finds wrong rows of the cache, and logits that are wrong at one step alone', async () => {
    const rows = new WrongStandIn(options);
    expect((await orderMatched(rows, tokens, 5)).differingElements).toBeGreaterThan(0);
    await rows.release();
    const once = new WrongLogitsOnce(options);
    once.at = 8;
    const found = await orderMatched(once, tokens, 5);
    expect(found.differingElements).toBe(1);
    expect(found.distance).toBeGreaterThan(0);
    await once.release();
  });

  it('adds up over prompts', () => {
    const part = { steps: 3, differingElements: 1, distance: 0.5 };
    expect(addOrderMatched([part, part])).toEqual({ steps: 6, differingElements: 2, distance: 1 });
  });
});
