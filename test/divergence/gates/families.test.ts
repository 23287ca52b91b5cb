/** Every gate holds for Mistral and Gemma-2 – sliding window, soft-caps, post-norms – and for wide heads, audited too. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { audit, runGates } from '../../../src/divergence/gates/index.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { subject } from './subject.ts';

describe.each(embeddedModels().filter(({ name }) => name !== 'mini-llama'))('$name', ({ dir }) => {
  test.each(['fp32', 'fp16', 'bf16', 'fp64', 'fp16-sdpa'])('%s', async (precision) => {
    // Longer than Gemma-2's window of 32.
    const tokens = Array.from({ length: 50 }, (_, i) => (i * 37 + 5) % 512);
    const judged = await subject(dir, precision, { prompt: { id: 'test', tokens }, maxSteps: 3 });
    const gates = await runGates(judged, 'run');
    expect(gates.filter(({ passed }) => !passed)).toEqual([]);
  });
});

describe('audits, with fresh processes, batches and threads', () => {
  const wide = join(import.meta.dirname, '..', '..', 'parity', 'fixtures', 'gemma2-256');
  const mini = embeddedModels().find(({ name }) => name === 'mini-gemma2');
  test.each([
    ['mini-gemma2', String(mini?.dir), 512, 40],
    ['Gemma-2 with heads of 256', wide, 31, 100],
  ])('%s passes every gate', async (_, dir, vocabulary, length) => {
    const tokens = Array.from({ length }, (_, i) => (i * 37 + 5) % vocabulary);
    const judged = await subject(dir, 'fp16', { prompt: { id: 'test', tokens }, maxSteps: 4 });
    const { passed, gates } = await audit(judged);
    expect(gates.filter((gate) => !gate.passed)).toEqual([]);
    expect(passed).toBe(true);
  });
});

describe('heads of 256', () => {
  // Without fixed key blocks two rows differ from all rows at about half of these lengths.
  test.each(['ort', 'folded'])('%s', async (kernels) => {
    const dir = writeTinyCheckpoint({ headDim: 256, attention: 'gqa', maxPositions: 200 });
    try {
      for (const length of [10, 60, 125]) {
        const tokens = Array.from({ length }, (_, i) => (i * 37 + 5) % 96);
        const judged = await subject(dir, 'fp32', {
          prompt: { id: 'test', tokens },
          maxSteps: 8,
          kernels: resolveKernels(kernels),
        });
        const gates = await runGates(judged, 'run', ['null', 'prefix', 'provenance']);
        expect(gates.filter(({ passed }) => !passed)).toEqual([]);
      }
    } finally {
      removeCheckpoint(dir);
    }
  });
});
