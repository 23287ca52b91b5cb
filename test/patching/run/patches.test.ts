/** Specs on prompts: self-patches change nothing, whole patches leave nothing, and grids find what was planted. */
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../../src/checkpoint/embedded.ts';
import type { Executor } from '../../../src/model/executor.ts';
import type { Fault } from '../../../src/model/faults.ts';
import { patchPrompt } from '../../../src/patching/run/prompt-patching.ts';
import { SavedRuns } from '../../../src/patching/run/saved-runs.ts';
import { resolveSpec } from '../../../src/patching/specification/resolve.ts';
import { type ArmsSpecInput, parsePatchSpec } from '../../../src/patching/specification/spec.ts';
import { openPatchSpec } from '../../../src/patching/specification/spec-files.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf, promptTokens } from '../arms/traces.ts';

const families = {
  llama: writeTinyCheckpoint({ layers: 3, seed: 3 }),
  mistral: writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', layers: 3, seed: 4 }),
  gemma2: writeTinyCheckpoint({ modelType: 'gemma2', attention: 'gqa', layers: 3, seed: 5, headDim: 32 }),
  qwen3: writeTinyCheckpoint({ modelType: 'qwen3', attention: 'gqa', layers: 2, seed: 6 }),
};
afterAll(() => Object.values(families).forEach(removeCheckpoint));

type Changes = Partial<Parameters<typeof patchPrompt>[0]> & { tokens?: number[] };

/** Run a spec on one prompt. */
async function patched(executor: Executor, spec: ArmsSpecInput | string, changes: Changes = {}) {
  const parsed = typeof spec === 'string' ? openPatchSpec(spec) : parsePatchSpec(spec, 'test');
  const resolved = resolveSpec(parsed, executor.config, executor.kernels);
  const { tokens = promptTokens, ...options } = changes;
  const result = await patchPrompt(
    {
      ...{ executor, resolved, strategy: { kind: 'greedy' }, saved: await SavedRuns.open(executor, [], []) },
      ...{ decodeRows: 1, maxNewTokens: 10, ignoreEos: true, uncachedPlan: 'stand-in' },
      ...options,
    },
    { id: 'test', index: 0, tokens, continuation: null },
  );
  return { ...result, plans: resolved.cells };
}

const spec = (fields: Omit<ArmsSpecInput, 'experiment' | 'name'>): ArmsSpecInput => ({
  ...{ experiment: 'arms', name: 'test' },
  ...fields,
});

const models = Object.entries({
  ...families,
  ...Object.fromEntries(
    ['mini-llama', 'mini-mistral', 'mini-gemma2'].map((name) => [name, join(packageRoot(), 'data/checkpoints', name)]),
  ),
}).flatMap(([name, dir]) => ['fp32', 'fp16', 'bf16'].map((precision) => [name, precision, dir] as const));

describe.each(models)('%s in %s', (_, precision, dir) => {
  test('a self-patch at every hook, at all steps, changes no element', async () => {
    const executor = await executorOf(dir, precision);
    const { checks, cells, steps } = await patched(executor, 'self-patch');
    expect(checks['patch-self']).toMatchObject({ differ: 0, failed: false, steps });
    expect(steps).toBe(9);
    // Far more than the logits: every hook of every layer.
    expect(checks['patch-self'].elements).toBeGreaterThan(
      steps * executor.config.layers * 10 * executor.config.hiddenSize,
    );
    for (const { changed } of cells) expect(changed).toBe(0);
    await executor.release();
  });

  test('every residual place in every layer replaced leaves no difference at the step; a single one is measured', async () => {
    const executor = await executorOf(dir, precision);
    const all = await patched(executor, spec({ patches: [{ hook: '*.hook_resid_post' }], steps: { every: 1 } }));
    for (const { outcomes, byConstruction } of all.cells) {
      expect(byConstruction).toEqual(outcomes.map(({ horizon }) => horizon === 0));
      expect(outcomes[0].recovery.exact).toBe(true);
    }
    await executor.release();
  });
});

describe.each(['fp32', 'fp16', 'bf16'])('a K row planted in %s', (precision) => {
  test('is found by the grids: only its layer, head, position and component recovers, and exactly', async () => {
    const planted = { layer: 1, head: 1, row: promptTokens.length + 2 };
    const executor = await executorOf(families.mistral, precision);
    const faults: Fault[] = [{ kind: 'scale-row', component: 'k', factor: 1.125, ...planted }];
    // Two rows per step: without the fault the arms would be equal.
    const { cells, plans } = await patched(
      executor,
      spec({
        patches: [{ cache: 'both' }],
        grid: ['layer', 'head', 'component', 'position'],
        steps: { at: [5] },
        measure: { horizons: [0] },
      }),
      { decodeRows: 2, faults },
    );
    expect(cells.length).toBe(3 * 2 * 2 * (promptTokens.length + 4));
    const exact = cells.filter(({ outcomes }) => outcomes[0].recovery.recovery === 1 && outcomes[0].recovery.exact);
    expect(exact.map(({ cell, posStart, posEnd }) => [plans[cell].label, posStart, posEnd])).toEqual([
      [
        { hook: 'blocks.1.attn.hook_cache_k', firstLayer: 1, layer: 1, head: 1, component: 'k' },
        planted.row,
        planted.row + 1,
      ],
    ]);
    for (const { outcomes, changed } of cells) {
      expect(outcomes[0].recovery.base.l2).toBeGreaterThan(0);
      if (changed === 0) expect(outcomes[0].recovery.recovery).toBe(0);
    }
    await executor.release();
  });
});

describe('steps that are patched together', () => {
  const last = { hook: 'blocks.2.hook_resid_post' };

  test('from a step on: no horizon differs; up to a step and then released: the next ones do', async () => {
    // Float32, so that one row of the history is enough to show in the logits.
    const executor = await executorOf(families.gemma2, 'fp32');
    const measure = { horizons: [0, 1, 2, 3] };
    const on = await patched(executor, spec({ patches: [last], steps: { from: 2 }, measure }));
    const released = await patched(
      executor,
      spec({ patches: [last], steps: { until: [2, 4], release: true }, measure }),
    );
    for (const { outcomes } of on.cells)
      expect(outcomes.map(({ recovery }) => recovery.exact)).toEqual(Array(4).fill(true));
    expect(on.cells.map(({ step }) => step)).toEqual([2]);
    expect(released.cells.map(({ step }) => step)).toEqual([2, 4]);
    for (const { outcomes, byConstruction } of released.cells) {
      expect(outcomes.map(({ recovery }) => recovery.exact)).toEqual([true, false, false, false]);
      expect(byConstruction).toEqual([true, false, false, false]);
    }
    await executor.release();
  });
});

describe('faults of the state', () => {
  const faults: [string, Fault][] = [
    ['a scaled row', { kind: 'scale-row', component: 'k', layer: 1, head: 0, row: 3, factor: 1.25 }],
    ['a stale row of a later step', { kind: 'stale-row', component: 'both', layer: 0, row: promptTokens.length + 1 }],
    ['a wrong position', { kind: 'position', step: 3, offset: 1 }],
    ['a mask off by one', { kind: 'mask', change: 'hide-newest' }],
    ['a narrower store', { kind: 'store', component: 'both', type: 'bf16' }],
  ];
  test.each(faults)('%s: the cell that changes nothing is still the cached arm, at every horizon', async (_, fault) => {
    const executor = await executorOf(families.llama, 'fp16');
    const { cells, plans, checks } = await patched(
      executor,
      spec({
        ...{ history: ['cached', 'recomputed'], kernel: ['decode', 'prefill'], steps: { every: 1 } },
        measure: { horizons: [0, 1, 2, 4] },
      }),
      { faults: [fault] },
    );
    expect(checks['patch-self']).toMatchObject({ steps: 9, differ: 0, failed: false });
    expect(checks['patch-full']).toMatchObject({ differ: 0, failed: false });
    const outcomes = cells.flatMap((cell) => cell.outcomes.map((outcome) => ({ ...outcome, plan: plans[cell.cell] })));
    const unpatched = outcomes.filter(({ plan }) => plan.kernel === 'decode' && plan.prefix === 0);
    expect(unpatched.map(({ recovery }) => recovery.patched)).toEqual(unpatched.map(({ recovery }) => recovery.base));
    // The fault is there to be found.
    expect(Math.max(...unpatched.map(({ recovery }) => recovery.base.l2))).toBeGreaterThan(0.01);
    await executor.release();
  });
});

describe('what a patch reaches', () => {
  test('the uncached residual stream entering a layer leaves that layer and those after it to differ', async () => {
    const executor = await executorOf(families.mistral, 'fp16');
    const { cells, plans } = await patched(executor, 'residual-by-layer', { maxNewTokens: 24 });
    expect(plans).toHaveLength(3 * 5);
    // After the last layer's attention nothing sums in another order: these two cannot come out otherwise.
    const cutting = ['blocks.2.hook_resid_mid', 'blocks.2.hook_resid_post'];
    for (const { cell, byConstruction, outcomes } of cells) {
      expect(byConstruction[0]).toBe(cutting.includes(plans[cell].label.hook));
      if (byConstruction[0]) expect(outcomes[0].recovery.exact).toBe(true);
    }
    await executor.release();
  });

  test('a step that begins at the first patched layer is the whole step', async () => {
    const executor = await executorOf(families.gemma2, 'fp16');
    const fields = { patches: [{ hook: 'blocks.2.attn.hook_z', from: 'zero' as const }], steps: { every: 1 } };
    const fast = await patched(executor, spec(fields));
    // A patch of the embedding over itself makes the same cell begin at the beginning.
    const slow = await patched(
      executor,
      spec({ ...fields, patches: [...fields.patches, { hook: 'hook_embed', from: 'cached' as const }] }),
    );
    expect(fast.cells.map(({ outcomes }) => outcomes)).toEqual(slow.cells.map(({ outcomes }) => outcomes));
    expect(fast.cells.some(({ outcomes }) => outcomes[0].recovery.patched.l2 > 0.1)).toBe(true);
    await executor.release();
  });

  test('into the uncached arm, its own values change nothing and cached ones bring the difference', async () => {
    const executor = await executorOf(families.llama, 'fp16');
    const noise = (from: 'cached' | 'uncached') =>
      patched(
        executor,
        spec({
          into: 'uncached',
          patches: [{ hook: 'logits', from }],
          steps: { every: 1 },
          measure: { horizons: [0] },
        }),
      );
    const self = await noise('uncached');
    expect(self.checks['patch-self']).toMatchObject({ differ: 0, steps: self.steps });
    for (const { outcomes } of (await noise('cached')).cells) {
      expect(outcomes[0].recovery.patched).toEqual(outcomes[0].recovery.base);
    }
    await executor.release();
  });

  test('patched up to a step and released, a patch persists in the rows it wrote and in nothing else', async () => {
    const executor = await executorOf(families.llama, 'fp16');
    const { cells } = await patched(
      executor,
      spec({
        patches: [{ cache: 'both', positions: ['history', 'last'] }],
        steps: { until: [3, 6], release: true },
        measure: { horizons: [0, 1, 2] },
      }),
    );
    expect(cells.map(({ step, outcomes }) => [step, outcomes.length])).toEqual([
      [3, 3],
      [6, 3],
    ]);
    // The patch writes every row the uncached arm has, so that the next step reads the recomputed history: as a patch of it alone.
    const alone = await patched(
      executor,
      spec({
        patches: [{ cache: 'both', positions: ['history', 'last'] }],
        steps: { at: [4, 7] },
        measure: { horizons: [0] },
      }),
    );
    const released = await patched(
      executor,
      spec({ patches: [{ cache: 'both', positions: ['history'] }], steps: { at: [4, 7] }, measure: { horizons: [0] } }),
    );
    expect(cells.map(({ outcomes }) => outcomes[1].recovery.patched)).toEqual(
      released.cells.map(({ outcomes }) => outcomes[0].recovery.patched),
    );
    expect(alone.cells).toHaveLength(2);
    await executor.release();
  });
});
