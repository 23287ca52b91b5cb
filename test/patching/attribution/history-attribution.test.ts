/** Shapley values of the history: they sum to what the whole history removes, and find a planted part. */
import { afterAll, expect, test } from 'vitest';
import { attributeHistory } from '../../../src/patching/attribution/history-attribution.ts';
import { resolveSpec } from '../../../src/patching/specification/resolve.ts';
import { parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf, traced } from '../arms/traces.ts';

const dir = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 });
afterAll(() => removeCheckpoint(dir));

test.each(['components', 'rows', 'heads'] as const)(
  '%s sum to the distance the recomputed history removes',
  async (parts) => {
    const executor = await executorOf(dir, 'fp32');
    const spec = parsePatchSpec(
      { experiment: 'arms', name: 'x', steps: { at: [3, 7] }, measure: { attribution: { parts, samples: 6 } } },
      'x',
    );
    const resolved = resolveSpec(spec, executor.config, executor.kernels);
    const { trajectory, runner } = await traced(executor);
    const found = await attributeHistory({ executor, resolved }, trajectory, runner);
    expect(found.map(({ step }) => step)).toEqual([3, 7]);
    for (const { base, recomputed, parts: of, plays } of found) {
      const sum = of.reduce((total, { value }) => total + value, 0);
      expect(base).toBeGreaterThan(0);
      expect(sum).toBeCloseTo(base - recomputed, 10);
      expect(of).toHaveLength({ components: 2, rows: 3, heads: 3 * 2 }[parts]);
      for (const { differing, value } of of) if (differing === 0) expect(value).toBe(0);
      expect(plays).toBeGreaterThan(1);
      const whole = base - recomputed;
      // Of two players each gets the mean of what it does first and last; of one that differs, all.
      if (parts === 'components')
        for (const [i, { value, oneIn }] of of.entries())
          expect(value).toBeCloseTo((oneIn + whole - of[1 - i].oneIn) / 2, 10);
      if (parts === 'rows') expect(of.map(({ oneIn }) => oneIn)).toEqual([0, 0, whole]);
    }
    // Rows of the prompt are the prefill's own in both arms.
    const [{ parts: rows }] = found;
    if (parts === 'rows')
      expect(rows.map(({ part, differing }) => [part, differing > 0])).toEqual([
        ['first', false],
        ['prompt', false],
        ['generated', true],
      ]);
    await executor.release();
  },
);
