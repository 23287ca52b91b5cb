/** Every gate on real trained models, where the shared data is present. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { audit, runGates } from '../../../src/divergence/gates/index.ts';
import { sharedPath } from '../../shared.ts';
import { subject } from './subject.ts';

let cache = '';
beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'kvlens-cache-'));
  process.env.KVLENS_CACHE = cache;
});
afterAll(() => {
  rmSync(cache, { recursive: true, force: true });
  delete process.env.KVLENS_CACHE;
});

const prompt = { id: 'shared', tokens: Array.from({ length: 40 }, (_, i) => (i === 0 ? 1 : 3 + ((i * 97) % 500))) };

for (const name of ['stories260K', 'trial-llama']) {
  const dir = sharedPath('data', 'models', name);
  describe.skipIf(dir === null)(name, () => {
    test.each(['fp32', 'fp16', 'bf16'])('passes every gate of a %s run', async (precision) => {
      const results = await runGates(await subject(dir ?? '', precision, { prompt, maxSteps: 8 }));
      expect(results.filter(({ status }) => status !== 'passed')).toEqual([]);
    });
    test('passes an fp16 audit', async () => {
      const { passed, gates } = await audit(await subject(dir ?? '', 'fp16', { prompt, maxSteps: 8 }));
      expect(gates.filter(({ status }) => status !== 'passed')).toEqual([]);
      expect(passed).toBe(true);
    });
  });
}
