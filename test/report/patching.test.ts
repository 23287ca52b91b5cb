/** Patch runs in the terminal: lines written by hand. */
import { describe, expect, test } from 'vitest';
import type { CellSummary, HorizonSummary, PatchSummary } from '../../src/patching/run/summary.ts';
import { armsSpec, parsePatchSpec } from '../../src/patching/specification/spec.ts';
import { renderPatch } from '../../src/report/terminal/index.ts';
import { displayWidth } from '../../src/report/terminal/layout.ts';
import { gate } from './summaries.ts';

const options = { columns: 80, color: false, unicode: true, run: 'runs/patch-1' };

function at(horizon: number, recovery: number | null, changes: Partial<HorizonSummary> = {}): HorizonSummary {
  return {
    ...{ horizon, recovery, recoveryKl: recovery, interval: null, count: 40 },
    ...{ distanceBase: 2, distancePatched: recovery === null ? 0 : 2 * (1 - recovery) },
    ...{ exact: recovery === 1 ? 40 : 0, vacuous: 0, harmful: 0, byConstruction: 0 },
    ...changes,
  };
}

function cell(
  history: CellSummary['history'],
  kernel: CellSummary['kernel'],
  horizons: HorizonSummary[],
  changes: Partial<CellSummary> = {},
): CellSummary {
  const whole = history === 'recomputed';
  return {
    ...{ history, kernel, horizons, age: null, unchanged: 0, count: 40 },
    patch: whole ? 'history of layers 0–5' : 'none',
    label: { hook: 'none', firstLayer: whole ? 0 : -1, layer: whole ? 5 : -1, head: null, component: 'both' },
    tokens: { flips: 0, returned: 0, follows: 20, followsBase: 20 },
    ...changes,
  };
}

function summary(cells: CellSummary[], changes: Partial<PatchSummary> = {}): PatchSummary {
  return {
    ...{ model: 'mini-gemma2', precision: 'fp16', kernels: 'ort', strategy: 'greedy', decodeRows: 1 },
    ...{ emulated: false, planted: [] },
    spec: armsSpec(
      parsePatchSpec(
        { experiment: 'arms', name: 'two-by-two', history: ['cached', 'recomputed'], kernel: ['decode', 'prefill'] },
        'x',
      ),
    ),
    ...{ prompts: 10, steps: 500, patchedSteps: 40, cells, parts: [], gates: [gate('no-op'), gate('patch-full')] },
    ...{ spotChecks: { steps: 0, failed: 0 }, valid: true },
    ...changes,
  };
}

const history = (low: number) => at(0, 0.85, { interval: { low, high: 0.97 } });
const kernel = (low: number) => at(0, 0.07, { interval: { low, high: 0.34 } });
const full = at(0, 1, { byConstruction: 40 });
const twoByTwo = (h: HorizonSummary, k: HorizonSummary) =>
  summary([
    cell('cached', 'decode', [at(0, 0)]),
    cell('cached', 'prefill', [k]),
    cell('recomputed', 'decode', [h]),
    cell('recomputed', 'prefill', [full]),
  ]);

describe('the 2×2', () => {
  test('is a table of histories and kernels, and says what is by construction', () => {
    expect(renderPatch(twoByTwo(history(0.82), kernel(-0.02)), options).split('\n')).toEqual([
      'mini-gemma2  two-by-two  fp16, greedy, ort         10 prompts, 40 patched steps',
      '  on this CPU: fp16 storage, fp32 accumulation',
      '',
      'Recovery R of the difference between the arms [95 %, by prompt]',
      '  after  history                    decode kernel              prefill kernel',
      '   step  cached                0 (the cached arm)           0.07 [−0.02–0.34]',
      '         recomputed              0.85 [0.82–0.97]                       1 = ○',
      '  R   0 as the cached arm   1 as the uncached arm   = not one bit differs',
      '',
      '  ○ 1 cell: R = 1 at the patched step is by construction, since the patch cuts',
      '    every path; it is no evidence',
      '',
      'Gates   ✓ no-op  ✓ patch-full',
      '',
      '≈ THE CACHE CARRIES IT  recomputed history alone recovers R 0.85 [0.82–0.97],',
      '  the prefill kernel alone 0.07 [−0.02–0.34]',
      '  look           runs/patch-1',
    ]);
  });

  test('"carries" only where the interval leaves no other reading', () => {
    expect(renderPatch(twoByTwo(history(0.6), kernel(0)), options)).toMatch(/^≈ HISTORY MORE THAN KERNEL {2}/m);
    expect(renderPatch(twoByTwo(history(0.3), kernel(0)), options)).toMatch(/^≈ NEITHER ALONE {2}/m);
    const other = twoByTwo(
      at(0, 0.1, { interval: { low: 0, high: 0.2 } }),
      at(0, 0.95, { interval: { low: 0.9, high: 1 } }),
    );
    expect(renderPatch(other, options)).toMatch(/^≈ THE KERNEL MAKES IT {2}/m);
    expect(renderPatch(twoByTwo(at(0, 0.9), at(0, 0.1)), options)).toMatch(
      /^≈ MEASURED {2}[\s\S]*one prompt gives no\s+interval/m,
    );
  });

  test('nothing to recover is vacuous, and said', () => {
    const nothing = at(0, null, { distanceBase: 0, vacuous: 40, exact: 40, byConstruction: 40 });
    const text = renderPatch(twoByTwo(nothing, nothing), options);
    expect(text).toMatch(/∅ nothing to recover/);
    const vacuous = summary(
      ['decode', 'prefill'].flatMap((k) =>
        (['cached', 'recomputed'] as const).map((h) => cell(h, k as 'decode', [nothing])),
      ),
    );
    expect(renderPatch(vacuous, options)).toMatch(/∅ vacuous: 160 of 160 measurements had nothing to recover/);
    expect(renderPatch(vacuous, options)).toMatch(/^= VACUOUS {2}/m);
  });

  test('a failed exactness check leaves no number', () => {
    const failed = gate('patch-full', { passed: false, status: 'failed', measured: '3 of 512 elements differ' });
    const text = renderPatch({ ...twoByTwo(history(0.82), kernel(0)), gates: [failed], valid: false }, options);
    expect(text).toMatch(/^! NOT VALID {2}gate "patch full" failed: 3 of 512 elements differ/m);
    expect(text).not.toMatch(/0\.85/);
  });
});

describe('grids and lists', () => {
  const grid = armsSpec(
    parsePatchSpec(
      { experiment: 'arms', name: 'kv', patches: [{ cache: 'both' }], grid: ['layer', 'head', 'component'] },
      'x',
    ),
  );
  const one = (layer: number, head: number, recovery: number | null) =>
    cell('cached', 'decode', [at(0, recovery)], {
      patch: `blocks.${layer}.attn.hook_cache_k head ${head}`,
      label: { hook: `blocks.${layer}.attn.hook_cache_k`, firstLayer: layer, layer, head, component: 'k' },
    });

  test('a grid is a map of layers and heads: exactly 0, eighths, below 0, vacuous', () => {
    const cells = [one(0, 0, 0), one(0, 1, 0.1), one(1, 0, 0.5), one(1, 1, 0.99), one(2, 0, -0.2), one(2, 1, null)];
    const lines = renderPatch(summary(cells, { spec: grid }), options).split('\n');
    expect(lines.slice(3, 8)).toEqual([
      'Recovery R of single cells at the patched step, heads across',
      '  L0 k          ·▁  max 0.10 at head 1',
      '  L1 k          ▄█  max 0.99 at head 1',
      '  L2 k          ▾∅  max −0.20 at head 0',
      '  scale   · exactly 0   ▁ ≤ 0.125 … █ ≤ 1   ▾ < 0   ∅ nothing to recover',
    ]);
  });

  test('patches that write what was there change nothing', () => {
    const same = cell('cached', 'decode', [at(0, 0)], { patch: 'all', unchanged: 40 });
    expect(renderPatch(summary([same], { spec: { ...grid, grid: undefined } }), options)).toMatch(
      /^= CHANGES NOTHING {2}/m,
    );
  });

  test('tokens that return are counted, and every line fits', () => {
    const flipped = cell('cached', 'decode', [at(0, 0.3), at(1, 0.2), at(5, null, { harmful: 2 })], {
      patch: 'blocks.*.hook_resid_pre,blocks.*.hook_resid_mid and 29 more',
      tokens: { flips: 12, returned: 7, follows: 11, followsBase: 6 },
    });
    const text = renderPatch(summary([flipped], { spec: { ...grid, grid: undefined } }), options);
    expect(text).toMatch(/tokens: 12 patched steps had flipped; at most 7 return/);
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
  });
});
