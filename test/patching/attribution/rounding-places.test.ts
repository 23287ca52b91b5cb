/** The drift by rounding place: against policies written by hand, and places that cannot matter. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { places, type RoundingPolicy, resolvePolicy, typeAt } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { type ForcedRun, forcedRun } from '../../../src/patching/arms/forced-run.ts';
import {
  addPlaces,
  attributePlaces,
  narrowPlaces,
  onlyRounded,
} from '../../../src/patching/attribution/rounding-places.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dirs = {
  llama: writeTinyCheckpoint({ attention: 'gqa' }),
  gemma2: writeTinyCheckpoint({ modelType: 'gemma2', attention: 'gqa', seed: 3 }),
};
afterAll(() => {
  for (const dir of Object.values(dirs)) removeCheckpoint(dir);
});
const prompt = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];

async function open(model: keyof typeof dirs, policy: RoundingPolicy): Promise<Executor> {
  const checkpoint = await openCheckpoint(dirs[model]);
  return new Executor({ checkpoint, policy, kernels: resolveKernels('split-k:4:storage'), threads: 1 });
}

/** Σ D under a policy, on given tokens. */
async function drift(model: keyof typeof dirs, policy: RoundingPolicy, { tokens }: ForcedRun): Promise<number> {
  const executor = await open(model, policy);
  const continuation = tokens.slice(prompt.length);
  const run = await forcedRun(executor, prompt, { steps: continuation.length, continuation, plan: 'recompute' });
  const total = run.observed.reduce((sum, distance) => sum + distance, 0);
  await executor.release();
  return total;
}

describe('fp16, split K with stored partial sums', () => {
  test('ends and parts are the drift under policies written by hand', async () => {
    const executor = await open('llama', resolvePolicy('fp16'));
    const run = await forcedRun(executor, prompt, { steps: 4, ignoreEos: true });
    const found = await attributePlaces(executor, run);
    await executor.release();
    expect(found).toMatchObject({ policy: 'fp16', kernels: 'split-k:4:storage', steps: 4 });
    expect(found.shares.map(({ place }) => place)).toEqual([...places]);
    expect(found.all).toBe(await drift('llama', resolvePolicy('fp16'), run));
    expect(found.none).toBe(await drift('llama', resolvePolicy('fp32'), run));
    expect(found.all).toBeGreaterThan(10 * found.none);
    const kv = found.shares.find(({ place }) => place === 'kv')!;
    const linear = found.shares.find(({ place }) => place === 'linear')!;
    expect(kv.oneIn).toBe(await drift('llama', { ...resolvePolicy('fp32'), places: { kv: 'f16' } }, run));
    expect(linear.leaveOneOut).toBe(await drift('llama', { ...resolvePolicy('fp16'), places: { linear: 'f32' } }, run));
    // Partial sums are stored in the type of this place: alone it brings most of the drift.
    expect(linear.oneIn).toBeGreaterThan(5 * kv.oneIn);
    // LLaMA has no soft-cap, so this place is a null player.
    const softcap = found.shares.find(({ place }) => place === 'softcap')!;
    expect(softcap).toEqual({ place: 'softcap', oneIn: found.none, leaveOneOut: found.all });
  });

  test('Gemma-2’s soft-caps do round', async () => {
    const executor = await open('gemma2', resolvePolicy('bf16'));
    const run = await forcedRun(executor, prompt, { steps: 3, ignoreEos: true });
    const found = await attributePlaces(executor, run);
    await executor.release();
    expect(found.shares.find(({ place }) => place === 'softcap')!.oneIn).not.toBe(found.none);
  });
});

test('a policy of its own places is attributed to those alone', () => {
  const policy: RoundingPolicy = { ...resolvePolicy('fp32'), name: 'two', places: { kv: 'bf16', residual: 'f16' } };
  expect(narrowPlaces(policy)).toEqual(['kv', 'residual']);
  const rounded = onlyRounded(policy, ['residual']);
  expect(places.filter((place) => typeAt(rounded, place) !== 'f32')).toEqual(['residual']);
  expect(typeAt(rounded, 'residual')).toBe('f16');
});

test('a policy that rounds nowhere has nothing to attribute to', async () => {
  const executor = await open('llama', resolvePolicy('fp32'));
  const run = await forcedRun(executor, prompt, { steps: 1, ignoreEos: true });
  await expect(attributePlaces(executor, run)).rejects.toThrow(/fp32 rounds nowhere/);
  await executor.release();
});

test('prompts add up; unlike policies do not', () => {
  const part = {
    policy: 'p',
    kernels: 'k',
    steps: 2,
    all: 3,
    none: 1,
    shares: [{ place: 'kv', oneIn: 2, leaveOneOut: 1 } as const],
  };
  expect(addPlaces([part, part, part])).toEqual({
    ...part,
    ...{ steps: 6, all: 9, none: 3, shares: [{ place: 'kv', oneIn: 6, leaveOneOut: 3 }] },
  });
  expect(() => addPlaces([part, { ...part, policy: 'q' }])).toThrow(/unlike/);
});
