/** Every gate holds for Mistral and Gemma-2 – sliding window, soft-caps, post-norms – and for wide heads. */
import { describe, expect, test } from 'vitest';
import { runGates } from '../../../src/divergence/gates/index.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { sharedPath } from '../../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { subject } from './subject.ts';

describe.each(['trial-mistral', 'trial-gemma2'])('%s', (name) => {
  const dir = sharedPath('data', 'models', name);

  test.skipIf(dir === null).each(['fp32', 'fp16', 'bf16', 'fp64'])('%s', async (precision) => {
    // Longer than Gemma-2's window of 32.
    const tokens = Array.from({ length: 50 }, (_, i) => (i * 37 + 5) % 512);
    const judged = await subject(String(dir), precision, { prompt: { id: 'test', tokens }, maxSteps: 3 });
    const gates = await runGates(judged, 'run');
    expect(gates.filter(({ passed }) => !passed)).toEqual([]);
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
