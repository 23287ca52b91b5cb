/** What an attribution says: each sentence from numbers that bear it. */
import { expect, test } from 'vitest';
import type { AttributionSummary, NullFound } from '../../src/patching/attribution/run/summary.ts';
import { attributionSpec, parsePatchSpec } from '../../src/patching/specification/spec.ts';
import { renderAttribution } from '../../src/report/terminal/index.ts';

const options = { columns: 80, color: false, unicode: true, run: 'RUN' };
const summary = (changes: Partial<AttributionSummary>): AttributionSummary => ({
  ...{ model: 'mini', precision: 'fp16', kernels: 'ort', emulated: false, strategy: 'greedy', decodeRows: 1 },
  spec: attributionSpec(parsePatchSpec({ experiment: 'attribution', name: 'mine', of: ['classes'] }, 'x')),
  ...{ prompts: 4, steps: 100, driftingSteps: 50, observed: 0.2, classes: [], places: null, gains: null, nulls: [] },
  ...{ gates: [], spotChecks: { steps: 0, failed: 0 }, valid: true },
  ...changes,
});
const found = (changes: Partial<NullFound>): NullFound => ({
  ...{ null: 'placebo', seeds: 19, steps: 100, mean: 0.1, max: 1, zero: 0.5, observed: 0.2, below: 19, ceiling: 0.12 },
  ...{ quantiles: { q50: 0, q90: 0.2, q95: 0.3, q999: 0.9 }, seedMeans: { q05: 0.08, q50: 0.1, q95: 0.12 } },
  ...{ beyond: 3, classes: ['scores', 'mlp'], unaffected: 0, flipped: null },
  ...changes,
});

test('a null is a rank among its seeds: above all, between, below all, or without a drift of its own', () => {
  const verdict = (changes: Partial<NullFound>) =>
    renderAttribution(summary({ nulls: [found(changes)] }), options).replaceAll(/\s+/g, ' ');
  expect(verdict({})).toMatch(/≈ MEASURED the drift is ×2\.0 the placebo’s, above all 19 seeds \(1 in 20 by chance\)/);
  expect(verdict({ below: 7, mean: 0.2 })).toMatch(/the drift is ×1\.0 the placebo’s, above 7 of 19 seeds/);
  expect(verdict({ below: 0, mean: 0.4 })).toMatch(/the drift is ×0\.50 the placebo’s, below all 19 seeds/);
  expect(verdict({ mean: 0, null: 'random-ulp' })).toMatch(/MEASURED random-ulp does not drift/);
  expect(verdict({})).toMatch(
    /K of q kᵀ, mlp in a random order; 19 of 19 seeds drift less than observed, 3 of 100 steps/,
  );
  expect(verdict({ unaffected: 3 })).toMatch(/in a random order \(of none on 3 prompts, where D is 0\); 19 of 19/);
});

test('an emulated preset is named at the top and in the last sentence', () => {
  const text = renderAttribution(
    summary({ kernels: 'split-k:8:storage', emulated: true, nulls: [found({})] }),
    options,
  );
  expect(text).toMatch(/\n {2}split-k:8:storage imitates a GPU's kernel inside the graph\n/);
  expect(text).toMatch(/split-k:8:storage\s+is\s+emulated\n/);
});

test('shares outside of 0 … 1 are marked, intervals are shown where they are wider than a point', () => {
  const part = (operation: 'mlp' | 'o', share: number, low: number, high: number) => ({
    ...{ operation, shapley: share, share, interval: { low, high }, oneIn: share, leaveOneOut: share },
  });
  const parts = [part('mlp', 1.25, 1.1, 1.4), part('o', -0.25, -0.251, -0.249)];
  const text = renderAttribution(summary({ classes: [{ history: 'cached', all: 1, none: 0, parts }] }), options);
  expect(text).toMatch(/ {2}mlp {9}█{15}▴ 125 % \[110–140\]/);
  expect(text).toMatch(/ {2}o {11}▾ {16}−25 % {16}−0\.25/);
  expect(text).toMatch(/≈ MEASURED {2}mlp 125 % of the drift, cached history/);
});

test('without a drift there is nothing to share out, and without a valid gate no number', () => {
  const classes = [{ history: 'cached' as const, all: 0, none: 0, parts: [] }];
  const text = renderAttribution(summary({ observed: 0, classes }), options);
  expect(text).toMatch(/cached history: a whole decode +v\(all\) 0: nothing to share out/);
  expect(text).toMatch(/^= NO DRIFT {2}the logits of the arms are equal in\s+100 steps/m);
  const gate = { class: 'harness' as const, passed: false, status: 'failed' as const, scope: '' };
  const failed = { ...gate, name: 'no-class', measured: '3 of 9 elements differ', required: '0 elements differ' };
  const void_ = renderAttribution(summary({ nulls: [found({})], gates: [failed], valid: false }), options);
  expect(void_).toMatch(/! NOT VALID {2}gate "no class" failed: 3 of 9 elements differ, 0 required/);
  expect(void_).not.toMatch(/placebo/);
});
