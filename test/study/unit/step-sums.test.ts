/** One prompt summed up: rows made by hand, and one run whose layers are added again from its table's rows. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import type { LogitsComparison } from '../../../src/divergence/metrics/logits.ts';
import { runPrompt } from '../../../src/divergence/prompt-run.ts';
import type { PromptResult, StepRecord } from '../../../src/divergence/rows.ts';
import { selectHooks } from '../../../src/graph/hooks.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { policies } from '../../../src/graph/rounding.ts';
import { Executor } from '../../../src/model/executor.ts';
import { summarise } from '../../../src/study/unit/step-sums.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

type StepChange = Partial<Omit<StepRecord, 'logits'>> & { logits?: Partial<LogitsComparison> };

const top = (margin: number) => ({ token: 4, margin, tie: margin === 0 });

function step(number: number, { logits, ...change }: StepChange = {}): StepRecord {
  return {
    ...{ protocol: 'teacher-forced', step: number, position: 5 + number, tokenCached: 4, tokenUncached: 4 },
    ...{ flip: false, differs: null, divergedBefore: false, tvProcessed: null, marginChoice: null, boundary: null },
    ...{ errorCached: null, errorUncached: null, errorCosine: null, drift: { single: null, double: null } },
    ...change,
    logits: {
      ...{ nDiffer: 0, nonfinite: 0, nan: 0, maxAbs: 0, relL2: 0, l2Centred: 0, kl: 0, js: 0, tv: 0, topShift: 0 },
      ...{ cached: top(1), uncached: top(1) },
      ...logits,
    },
  };
}

function result(steps: StepRecord[], change: Partial<PromptResult> = {}): PromptResult {
  return {
    ...{ index: 0, prompt: 'p', steps, layers: [], candidates: [], activations: [] },
    ...{ tokensCached: [4], tokensUncached: [4] },
    ...{ stops: { cached: 'limit', uncached: 'limit' }, orderMatched: null, temperatures: [], logits: null },
    ...{ origins: [], nonfinite: { elements: 0, nan: 0, hook: null } },
    ...{ spotChecks: { steps: 2, failed: 0 }, recomputed: false },
    ...change,
  };
}

describe('steps', () => {
  test('are summed from step 1 on, teacher-forced rows alone', () => {
    const all = { nDiffer: 3, l2Centred: 100, kl: 100, js: 100, tv: 100, topShift: 100 };
    const { sums, margins, shifts, uncached } = summarise(
      result([
        step(0, { logits: all, flip: true }),
        step(1, { logits: { nDiffer: 2, l2Centred: 0.5, kl: 0.25, js: 0.125, tv: 0.0625, topShift: -0.5 } }),
        step(2, { logits: { uncached: top(0), cached: top(0.5) } }),
        step(3, { logits: { nDiffer: 1, l2Centred: 1.5, kl: 0.5, js: 1, tv: 2, topShift: 0.75, uncached: top(3) } }),
        step(1, { protocol: 'free-running', logits: all, flip: true }),
      ]),
    );
    expect(sums).toMatchObject({ steps: 3, differing: 2, ties: 1, l2Centred: 2, kl: 0.75, js: 1.125, tv: 2.0625 });
    expect(margins).toEqual([1, 0, 3]);
    expect(shifts).toEqual([-0.5, 0, 0.75]);
    expect(uncached).toEqual({ checked: 2, failed: 0, recomputed: false });
  });

  test('what was not measured is null, and what was measured on no step is 0', () => {
    const none = { tvProcessed: null, tvProcessedUpper: null, errorCached: null, errorUncached: null };
    expect(summarise(result([step(0), step(1)])).sums).toMatchObject({ ...none, single: null, double: null });
    const measured: StepChange = {
      ...{ tvProcessed: 0.5, errorCached: 2, errorUncached: 1 },
      drift: { single: null, double: { cached: 3, uncached: 4 } },
    };
    expect(summarise(result([step(0, measured)])).sums).toMatchObject({
      ...{ tvProcessed: 0, tvProcessedUpper: 0, errorCached: 0, errorUncached: 0 },
      ...{ single: null, double: { cached: 0, uncached: 0 } },
    });
    expect(summarise(result([step(0, measured), step(1, measured), step(2, measured)])).sums).toMatchObject({
      ...{ tvProcessed: 1, tvProcessedUpper: 4 / 3, errorCached: 4, errorUncached: 2 },
      ...{ single: null, double: { cached: 6, uncached: 8 } },
    });
  });

  test('a flip says by how much its choice led, whether it was a tie, and whether a cut decided', () => {
    const { flips } = summarise(
      result([
        step(0, { flip: true, marginChoice: 9 }),
        step(1, { flip: true, marginChoice: 0.25, boundary: true }),
        step(2, { flip: false, marginChoice: 7 }),
        step(3, { flip: true, marginChoice: null, logits: { cached: top(0) } }),
      ]),
    );
    expect(flips).toEqual([
      { step: 1, margin: 0.25, tie: false, boundary: true },
      { step: 3, margin: null, tie: true, boundary: false },
    ]);
  });
});

test.each([
  [[1, 2, 3], [1, 2, 3], null],
  [[1, 2, 3], [1, 9, 3], 1],
  [[8], [9, 9, 3], 0],
  // One text has ended after step 1, the other goes on.
  [[1, 2], [1, 2, 3], 1],
])('texts %j and %j diverge at %j', (tokensCached, tokensUncached, expected) => {
  expect(summarise(result([step(0)], { tokensCached, tokensUncached })).divergedAt).toBe(expected);
});

test('order-matched decoding comes without its tokens', () => {
  const orderMatched = { steps: 3, differingElements: 2, distance: 0.5, tokens: [4], stop: 'limit' } as const;
  const found = summarise(result([step(0)], { orderMatched: { ...orderMatched, tokens: [4] } }));
  expect(found.orderMatched).toEqual({ steps: 3, differingElements: 2, distance: 0.5 });
});

describe('layers', async () => {
  const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
  const executor = new Executor({
    ...{ checkpoint: await openCheckpoint(dir), policy: policies.fp16, kernels: resolveKernels('split-k:8:storage') },
    threads: 1,
  });
  afterAll(async () => {
    await executor.release();
    removeCheckpoint(dir);
  });
  const prompt = { id: 'p', index: 0, tokens: [1, 17, 5, 88, 42], continuation: null };
  const run = (compare: 'all' | 'logits') =>
    runPrompt(
      {
        ...{ executor, oracle: null, strategy: { kind: 'greedy' }, hooks: selectHooks('all', executor.config) },
        ...{ mode: 'both', decodeRows: 1, maxNewTokens: 15, ignoreEos: true, uncachedPlan: 'stand-in' },
        ...{ saveActivations: false, compare },
      },
      prompt,
    );

  test('are the residual stream from the embedding to the final norm', async () => {
    const found = await run('all');
    const records = found.layers;
    const layers = summarise(found).layers!;
    expect(layers.map(({ layer }) => layer)).toEqual([-1, 0, 1, 2, 3]);
    const names = ['hook_embed', ...[0, 1, 2].map((l) => `blocks.${l}.hook_resid_post`), 'ln_final.hook_normalized'];
    layers.forEach((sums, i) => {
      const rows = records.filter(({ hook, step }) => hook === names[i] && step > 0);
      const total = (value: (row: (typeof rows)[number]) => number) => rows.reduce((sum, row) => sum + value(row), 0);
      expect(sums.steps).toBe(14);
      expect(sums.equal).toBe(rows.filter(({ statistics }) => statistics.n_differ === 0).length);
      expect(sums.relL2).toBeCloseTo(
        total(({ statistics }) => statistics.rel_l2),
        15,
      );
      expect(sums.relL2Squared).toBeCloseTo(
        total(({ statistics }) => statistics.rel_l2 ** 2),
        15,
      );
      if (i === 0 || i === 4) expect([sums.added, sums.viaHistory, sums.viaResidual]).toEqual([null, null, null]);
      else {
        expect(sums.added).toBeCloseTo(
          total(({ added }) => added!),
          15,
        );
        expect(sums.viaHistory).toBeCloseTo(
          total(({ viaHistory }) => viaHistory!),
          15,
        );
        expect(sums.viaResidual).toBeCloseTo(
          total(({ viaResidual }) => viaResidual!),
          15,
        );
      }
    });
    expect(layers[0]).toMatchObject({ equal: 14, relL2: 0 });
    expect(layers[4].relL2).toBeGreaterThan(0);
  });

  test('are null where no hook was compared', async () => {
    expect(summarise(await run('logits')).layers).toBeNull();
  });
});
