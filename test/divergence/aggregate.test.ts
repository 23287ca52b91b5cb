/** The summary of hand-made prompts: counts, bins, verdicts; intervals against published values. */
import { describe, expect, test } from 'vitest';
import { Aggregate, driftBins } from '../../src/divergence/aggregate.ts';
import type { LayerRecord, PromptResult, StepRecord } from '../../src/divergence/rows.ts';
import type { DivergenceSummary, GateResult, Origin, Verdict } from '../../src/divergence/summary.ts';
import { rateInterval } from '../../src/numerics/rate-interval.ts';
import { tokenLines } from '../../src/report/terminal/tokens.ts';

/** 1 u of binary16. */
const u = 2 ** -11;
const { NaN: nan } = Number;

/** What a test says about a step; the rest is what an undisturbed step has. */
type StepChange = Partial<Omit<StepRecord, 'logits'>> & {
  kl?: number;
  tv?: number;
  l2?: number;
  margins?: [uncached: number, cached: number];
};

function step(number: number, { kl = 0, tv = 0, l2 = 0, margins = [1, 1], ...change }: StepChange = {}): StepRecord {
  const top = (token: number, margin: number) => ({ token, margin, tie: margin === 0 });
  const { tokenUncached = 5, tokenCached = change.flip ? 6 : 5 } = change;
  return {
    protocol: 'teacher-forced',
    step: number,
    position: 6 + number,
    flip: false,
    differs: false,
    divergedBefore: false,
    logits: {
      ...{ nDiffer: 0, nonfinite: 0, nan: 0, maxAbs: 0, relL2: 0, l2Centred: l2, kl, js: 0, tv, topShift: 0 },
      ...{ uncached: top(tokenUncached, margins[0]), cached: top(tokenCached, margins[1]) },
    },
    ...{ tvProcessed: null, errorCached: null, errorUncached: null, errorCosine: null },
    ...{ marginChoice: null, boundary: null, drift: { single: null, double: null } },
    ...change,
    ...{ tokenUncached, tokenCached },
  };
}

/** One row of the residual stream after block 0, unless said otherwise. */
function layer(
  number: number,
  relL2: number,
  {
    kind = 'resid_post',
    at = 0,
    added = null,
    ...statistics
  }: {
    kind?: string;
    at?: number;
    added?: number | null;
    nonfinite?: number;
    nan?: number;
  } = {},
): LayerRecord {
  return {
    ...{
      step: number,
      position: 6 + number,
      layer: at,
      hook: kind === 'resid_post' ? `blocks.${at}.hook_resid_post` : kind,
    },
    ...{ kind, dtype: 'f16', added, viaHistory: null, viaResidual: null },
    statistics: {
      ...{ n_elements: 64, n_differ: relL2 === 0 ? 0 : 1, signed_zero: 0, sign_flips: 0, nonfinite: 0, nan: 0 },
      ...{ max_abs: 0, rel_l2: relL2, max_ulp: 0, mean_ulp: 0, ulp_row: 0, cosine: 1 },
      ...statistics,
    },
  };
}

let made = 0;
function prompt(change: Partial<PromptResult>): PromptResult {
  const index = change.index ?? made++;
  return {
    ...{ index, prompt: `p${index}`, steps: [], layers: [], activations: [] },
    ...{ candidates: [], tokensCached: [], tokensUncached: [] },
    ...{
      origins: [],
      ...{ stops: { cached: 'limit', uncached: 'limit' }, orderMatched: null, temperatures: [], logits: null },
      nonfinite: { elements: 0, nan: 0, hook: null },
      spotChecks: { steps: 0, failed: 0 },
      recomputed: false,
    },
    ...change,
  };
}

function summarize(prompts: PromptResult[], gates: GateResult[] = []): DivergenceSummary {
  const aggregate = new Aggregate({
    ...{
      model: 'tiny',
      precision: 'fp16',
      kernels: 'ort',
      matchedKernels: 'ort',
      emulated: false,
      strategy: 'greedy',
      decodeRows: 1,
      unit: 'f16',
      layers: 2,
    },
    tokenText: (token) => `<${token}>`,
  });
  for (const each of prompts) aggregate.add(each);
  return aggregate.summary(gates);
}

const steps = (count: number, changes: Record<number, StepChange> = {}) =>
  Array.from({ length: count }, (_, i) => step(i, changes[i]));
const free = (rows: StepRecord[]) => rows.map((row) => ({ ...row, protocol: 'free-running' as const }));
const origin = { hook: 'blocks.0.attn.hook_attn_scores', step: 1 } as Origin;

describe('counts', () => {
  test('flips, ties, diverged prompts and first flips are counted per step and per prompt', () => {
    const summary = summarize([
      prompt({
        steps: steps(11, { 4: { flip: true, differs: true }, 7: { flip: true, margins: [0, 1], differs: true } }),
      }),
      // Step 0 does not count.
      prompt({ steps: steps(11, { 0: { differs: true }, 3: { differs: true } }) }),
      prompt({ steps: steps(6, { 2: { flip: true, margins: [1, 0], differs: true } }) }),
    ]);
    expect(summary).toMatchObject({
      ...{ prompts: 3, steps: 25, longestSteps: 10, differingSteps: 4 },
      ...{ flips: 3, tieFlips: 2, divergedPrompts: 2, firstFlipSteps: [2, 4] },
    });
  });

  test('an exact tie that flips nothing is no tie flip', () => {
    expect(summarize([prompt({ steps: steps(3, { 1: { margins: [0, 0] } }) })])).toMatchObject({
      flips: 0,
      tieFlips: 0,
    });
  });

  test('step 0 is in no rate and in no mean', () => {
    const summary = summarize([
      prompt({
        steps: steps(3, { 0: { kl: 99, tv: 99, l2: 99 }, 1: { kl: 2, tv: 0.5, l2: 4 }, 2: { kl: 4, tv: 0.25, l2: 8 } }),
        layers: [layer(0, 99), layer(1, u)],
      }),
    ]);
    expect(summary).toMatchObject({ steps: 2, kl: 3, tv: 0.375, l2: 6 });
    expect(summary.drift).toMatchObject([{ label: 'L0', rms: 1, max: 1 }]);
  });

  test('a prompt of one step has nothing to count', () => {
    expect(summarize([prompt({ steps: steps(1) })])).toMatchObject({ steps: 0, longestSteps: 0, kl: 0, drift: [] });
  });

  test('teacher-forced rows count where there are any, and only once', () => {
    const rows = steps(5, { 3: { flip: true, kl: 1 } });
    const after = { ...step(4), flip: null, divergedBefore: true, protocol: 'free-running' as const };
    const both = summarize([prompt({ steps: [...rows, ...free(rows.slice(0, 4)), after] })]);
    expect(both).toMatchObject({ steps: 4, flips: 1, divergedPrompts: 1, firstFlipSteps: [3], kl: 1 / 4 });
  });

  test('free-running rows alone count up to the first flip', () => {
    const rows = free(steps(4, { 3: { flip: true } }));
    const after = { ...step(4, { kl: 9 }), flip: null, divergedBefore: true, protocol: 'free-running' as const };
    expect(summarize([prompt({ steps: [...rows, after] })])).toMatchObject({
      steps: 3,
      longestSteps: 3,
      flips: 1,
      kl: 0,
    });
  });

  test('spot checks are added up', () => {
    const checks = [
      { steps: 2, failed: 0 },
      { steps: 2, failed: 1 },
    ];
    const { spotChecks } = summarize(checks.map((spotChecks) => prompt({ spotChecks })));
    expect(spotChecks).toEqual({ steps: 4, failed: 1 });
  });

  test('oracle errors are means over the steps that have them, null where none has', () => {
    const rows = steps(4, { 1: { errorCached: 1, errorUncached: 3 }, 2: { errorCached: 2, errorUncached: 5 } });
    expect(summarize([prompt({ steps: rows })]).oracle).toEqual({ cached: 1.5, uncached: 4 });
    expect(summarize([prompt({ steps: steps(4) })]).oracle).toBeNull();
  });

  test('the widest flips come first, at most four, with their text', () => {
    const wide = (margin: number): StepChange => ({ flip: true, margins: [margin / 2, margin] });
    const { widestFlips } = summarize([
      prompt({ index: 0, steps: steps(5, { 1: wide(1), 2: wide(5), 4: wide(3) }) }),
      prompt({ index: 1, steps: steps(5, { 1: wide(3), 2: wide(4) }) }),
    ]);
    expect(widestFlips.map((flip) => [flip.promptIndex, flip.step, flip.cached.margin])).toEqual([
      [0, 2, 5],
      [1, 2, 4],
      [0, 4, 3],
      [1, 1, 3],
    ]);
    expect(widestFlips[0]).toMatchObject({ prompt: 'p0', uncached: { token: 5, text: '<5>', tie: false } });
  });

  test('the first divergence is the first of the first prompt that has one', () => {
    const other = { ...origin, hook: 'blocks.0.attn.hook_z' };
    const { firstDivergence, origins } = summarize([
      prompt({}),
      prompt({ origins: [origin, other] }),
      prompt({ origins: [other] }),
    ]);
    expect(firstDivergence).toBe(origin);
    expect(origins).toEqual([origin, other]);
  });
});

describe('the verdict', () => {
  const gate = (kind: GateResult['class'], passed: boolean): GateResult => ({
    ...{
      name: 'gate',
      class: kind,
      passed,
      status: passed ? 'passed' : 'failed',
      measured: '',
      required: '',
      scope: '',
    },
  });
  const differs = { steps: steps(3, { 2: { differs: true } }) };
  const flips = { steps: steps(3, { 1: { flip: true, differs: true } }) };
  test.each<[string, Verdict, Partial<PromptResult>, GateResult[]]>([
    ['nothing differs', 'equal', { steps: steps(3) }, [gate('harness', true)]],
    ['no prompt ran', 'equal', {}, []],
    ['some bit differs', 'bits-differ', differs, [gate('harness', true)]],
    ['only step 0 differs', 'bits-differ', { steps: steps(1), origins: [origin] }, []],
    ['some token differs', 'tokens-differ', flips, [gate('harness', true)]],
    ['an identification gate failed: numbers count', 'tokens-differ', flips, [gate('identification', false)]],
    ['a harness gate failed: none counts', 'not-valid', flips, [gate('harness', true), gate('harness', false)]],
  ])('%s: %s', (_, verdict, change, gates) => {
    expect(summarize([prompt(change)], gates).verdict).toBe(verdict);
  });
});

describe('drift', () => {
  const line = ({ drift }: DivergenceSummary, label: string) => drift.find((row) => row.label === label)!;

  test('each line is a hook: embedding, residual stream after each layer, final norm, logits', () => {
    const layers = [
      layer(1, 1 * u, { kind: 'hook_embed', at: -1 }),
      layer(1, 2 * u, { at: 0 }),
      layer(1, 3 * u, { at: 1 }),
      layer(1, 4 * u, { kind: 'ln_final.normalized', at: 2 }),
      layer(1, 5 * u, { kind: 'logits', at: 2 }),
      layer(1, 99 * u, { kind: 'resid_mid', at: 1 }),
    ].map((row) => (row.kind === 'hook_embed' ? { ...row, kind: 'embed' } : row));
    const { drift } = summarize([prompt({ steps: steps(2), layers })]);
    expect(drift.map(({ label, rms }) => [label, rms])).toEqual([
      ['embed', 1],
      ['L0', 2],
      ['L1', 3],
      ['final', 4],
      ['logits', 5],
    ]);
  });

  test('60 steps fill 30 bins, two each; rms over steps and prompts, in u', () => {
    const layers = Array.from({ length: 61 }, (_, i) => layer(i, i * u));
    const flat = layers.map((row) => ({ ...row, statistics: { ...row.statistics, rel_l2: 0, n_differ: 0 } }));
    const found = line(
      summarize([prompt({ steps: steps(61), layers }), prompt({ steps: steps(61), layers: flat })]),
      'L0',
    );
    expect(found.bins).toHaveLength(driftBins);
    for (const [bin, value] of found.bins.entries()) {
      const [a, b] = [2 * bin + 1, 2 * bin + 2];
      expect(value).toBeCloseTo(Math.sqrt((a * a + b * b) / 4), 12);
    }
    expect(found.rms).toBeCloseTo(Math.sqrt((60 * 61 * 121) / 6 / 120), 12);
    expect(found).toMatchObject({ max: 60, equalShare: 0.5, added: null });
  });

  test('fewer steps than bins leave null between them; no drift is exactly 0', () => {
    const layers = [layer(1, 0), layer(2, u), layer(3, 0)];
    const { bins, equalShare } = line(summarize([prompt({ steps: steps(4), layers })]), 'L0');
    const expected = Array<number | null>(30).fill(null);
    [expected[0], expected[10], expected[20]] = [0, 1, 0];
    expect(bins).toEqual(expected);
    expect(equalShare).toBeCloseTo(2 / 3, 15);
  });

  test('the last step of the longest prompt falls into the last bin, whatever their number', () => {
    for (const last of [30, 31, 59, 149]) {
      const layers = Array.from({ length: last }, (_, i) => layer(i + 1, i + 1 === last ? u : 0));
      const { bins } = line(summarize([prompt({ steps: steps(last + 1), layers })]), 'L0');
      expect(bins.findIndex((value) => value !== 0)).toBe(29);
      expect(bins).not.toContain(null);
    }
  });

  test('added is the rms over the steps where it was measured', () => {
    const layers = [layer(1, u, { added: 3 * u }), layer(2, u, { added: 4 * u }), layer(3, u)];
    expect(line(summarize([prompt({ steps: steps(4), layers })]), 'L0').added).toBeCloseTo(5 / Math.SQRT2, 12);
  });
});

describe('NaN is never averaged away', () => {
  test('one NaN step makes the means of its metric NaN, and only those', () => {
    const summary = summarize([
      prompt({ steps: steps(4, { 1: { kl: nan, tv: 0.5 }, 2: { errorCached: nan, errorUncached: 1 } }) }),
      prompt({ steps: steps(4) }),
    ]);
    expect(summary).toMatchObject({ kl: nan, tv: 0.5 / 6, oracle: { cached: nan, uncached: 1 } });
  });

  test('one NaN row makes its bin, the rms and the maximum of its line NaN, and no other bin', () => {
    const layers = [layer(1, u), layer(2, nan, { nonfinite: 1, nan: 1 }), layer(3, u)];
    const [{ bins, rms, max }] = summarize([prompt({ steps: steps(4), layers })]).drift;
    expect([bins[0], bins[10], bins[20], rms, max]).toEqual([1, nan, 1, nan, nan]);
  });

  test('non-finite elements of all prompts are counted, with the first hook that held one', () => {
    const aggregate = new Aggregate({
      ...{
        model: 'm',
        precision: 'fp16',
        kernels: 'ort',
        matchedKernels: 'ort',
        emulated: false,
        strategy: 'greedy',
        decodeRows: 1,
        unit: 'f16',
        layers: 2,
      },
      tokenText: () => null,
    });
    aggregate.add(prompt({ steps: steps(2) }));
    aggregate.add(prompt({ steps: steps(2), nonfinite: { elements: 3, nan: 2, hook: 'blocks.1.hook_resid_post' } }));
    aggregate.add(prompt({ steps: steps(2), nonfinite: { elements: 4, nan: 0, hook: 'hook_embed' } }));
    expect(aggregate.nonfinite).toEqual({ elements: 7, nan: 2, hook: 'blocks.1.hook_resid_post' });
  });
});

describe("Wilson's interval", () => {
  // R. G. Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('of %d in %d is %d … %d, and mirrored for the rest', (count, n, low, high) => {
    const found = rateInterval(count, n);
    expect(found.low).toBeCloseTo(low, 4);
    expect(found.high).toBeCloseTo(high, 4);
    const mirrored = rateInterval(n - count, n);
    expect(mirrored.low).toBeCloseTo(1 - high, 4);
    expect(mirrored.high).toBeCloseTo(1 - low, 4);
  });

  test('its ends are where the score test gives z = 1.96: |p̂ − p| = z √(p(1 − p)/n)', () => {
    for (const [count, n] of [
      [3, 10],
      [1, 500],
      [40, 41],
      [7, 5960],
    ]) {
      const { low, high } = rateInterval(count, n);
      for (const p of [low, high])
        expect(Math.abs(count / n - p) / Math.sqrt((p * (1 - p)) / n)).toBeCloseTo(1.959964, 5);
    }
  });

  test('it holds the rate and stays within 0 … 1, its ends exact for none and for all', () => {
    for (const n of [1, 2, 7, 100, 5960])
      for (const count of [0, 1, Math.floor(n / 2), n]) {
        const { low, high } = rateInterval(count, n);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(count / n);
        expect(high).toBeGreaterThanOrEqual(count / n);
        expect(low === 0).toBe(count === 0);
        expect(high === 1).toBe(count === n);
      }
  });
});

describe('no flip at all', () => {
  test.each([
    [100, '< 3 % (3/n)'],
    [1000, '< 0.3 % (3/n)'],
    [5960, '< 0.05 % (3/n)'],
    [2, '< 100 % (3/n)'],
  ])('in %d steps: the rule of three, %s', (count, text) => {
    const summary = { ...summarize([prompt({ steps: steps(count + 1) })]) };
    expect(summary.steps).toBe(count);
    expect(tokenLines(summary)[1]).toContain(text);
  });

  test('the rule of three is above the exact bound 1 − 0.05^(1/n), by less than a fiftieth from 100 on', () => {
    for (const n of [59, 100, 1000, 5960]) {
      const exact = 1 - 0.05 ** (1 / n);
      expect(3 / n).toBeGreaterThan(exact);
      if (n >= 100) expect(3 / n).toBeLessThan(1.02 * exact);
    }
  });
});
