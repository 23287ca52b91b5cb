/** The patch path of the embedded models: self-patch at every hook and full patch, at all decode steps of an audit. */
import { expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { runGates } from '../../../src/divergence/gates/index.ts';
import { subject } from './subject.ts';

const cases = embeddedModels().flatMap(({ name, dir }) =>
  ['fp32', 'fp16', 'bf16'].map((precision) => [name, precision, dir] as const),
);

test.each(cases)('%s in %s: 0 differing elements', async (_, precision, dir) => {
  const judged = await subject(dir, precision, { maxSteps: 8 });
  for (const result of await runGates(judged, 'audit', ['no-op', 'full-patch'])) {
    expect(result).toMatchObject({ passed: true, measured: expect.stringMatching(/^0 of [\d,]+ elements differ/) });
    expect(result.scope).toContain('n = 11 … 18');
  }
});
