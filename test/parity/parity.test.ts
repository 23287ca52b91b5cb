/**
 * kvlens computes what Hugging Face transformers computes: five architectures against expected values that
 * make_fixtures.py took from the library (docs/parity.md). The live check compares more shapes with the library itself.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../src/checkpoint/embedded.ts';
import { modelTypes } from '../../src/checkpoint/types.ts';
import { checkFullPrecision, checkHalfPrecision, runsOf } from './claims.ts';
import { Expected, expectedIn, halfRuns } from './expected.ts';

const all = expectedIn(join(packageRoot(), 'test', 'parity', 'fixtures'));

test('every architecture has expected values', () => {
  expect(new Set(all.map(({ index }) => index.modelType))).toEqual(new Set(modelTypes));
});

test('every half type is compared on both attention paths, but Gemma-2’s on the only one it has', () => {
  for (const expected of all) {
    const eager = halfRuns.filter((run) => !run.endsWith('-sdpa'));
    expect(runsOf(expected)).toEqual(expected.index.modelType === 'gemma2' ? eager : halfRuns);
  }
});

describe('the comparison can fail', () => {
  const folder = join(packageRoot(), 'test', 'parity', 'fixtures', 'llama-mha');
  /** Faults after one value of the library, at a place that kvlens meets, has been multiplied. */
  async function faultsAfter(name: string, factor: number) {
    const expected = new Expected(folder);
    const { data } = expected.tensor('fp16', 0, name);
    const largest = data.reduce((best, value, i) => (Math.abs(value) > Math.abs(data[best]) ? i : best), 0);
    data[largest] *= factor;
    return (await checkHalfPrecision(expected, 'fp16')).faults;
  }

  test('one step in one element of an exact operation', async () => {
    const faults = await faultsAfter('layers.1.self_attn.q_rotated', 1 + 2 ** -10);
    expect(faults[0]).toMatch(/^rotary sum: 1 of \d+ differ, expected at most 0$/);
  });

  test('more than one step in one element of a sum', async () => {
    const faults = await faultsAfter('layers.0.self_attn.v_proj', 1 + 2 ** -8);
    expect(faults.some((fault) => /^linear: a difference of \d+ ulp/.test(fault))).toBe(true);
  });
});

describe.each(all.map((expected) => [expected.index.name, expected] as const))('%s', (_, expected) => {
  test('float64: every hook to 1e-10, prefill and cached decode; float32: logits to 1e-5', async () => {
    const { hooks, faults } = await checkFullPrecision(expected);
    expect(faults).toEqual([]);
    expect(hooks).toBeGreaterThan(30);
  });

  test.each(runsOf(expected))('%s: at every rounding, on equal inputs, what accumulation explains', async (run) => {
    expect((await checkHalfPrecision(expected, run)).faults).toEqual([]);
  });
});
