/** Results of one condition, by hand. */
import { describe, expect, it } from 'vitest';
import type { ConditionResults } from '../../../src/study/outcome/types.ts';
import { driftBin, type UnitSummary } from '../../../src/study/unit/unit-summary.ts';
import { answers, condition, diverging, layer, outcome, sampled, times, unit } from '../unit-fixture.ts';

const greedy = condition(0);
const results = (units: UnitSummary[], at = greedy): ConditionResults => outcome([at], units).conditions[0].results!;

describe('accuracy of a condition', () => {
  // 20 prompts both solve, 7 only the cached arm, 1 only the uncached one, 2 neither; one without a gold answer.
  const pairs: [boolean | null, boolean | null][] = [
    ...times(20, (): [boolean, boolean] => [true, true]),
    ...times(7, (): [boolean, boolean] => [true, false]),
    [false, true],
    ...times(2, (): [boolean, boolean] => [false, false]),
    [null, null],
  ];
  const { accuracy } = results(
    pairs.map(([cached, uncached], i) => unit(greedy, i, { answers: answers({ cached, uncached }) })),
  );

  it('counts each arm over judged prompts', () => {
    expect(accuracy.arms.map(({ arm, n, right }) => [arm, n, right])).toEqual([
      ['cached', 30, 27],
      ['uncached', 30, 21],
    ]);
  });

  it('pairs the arms: discordant counts, exact p, difference', () => {
    expect(accuracy.paired).toMatchObject({ prompts: 30, cachedOnly: 7, uncachedOnly: 1, family: 1 });
    // Twice P(at most 1 of 8 coins).
    expect(accuracy.paired!.p).toBeCloseTo((2 * 9) / 256, 12);
    expect(accuracy.paired!.difference.value).toBeCloseTo(6 / 30, 12);
    expect(accuracy.paired).toMatchObject({ neededDiscordant: 6, testable: true });
  });

  it('is adjusted over the conditions of the same setting', () => {
    const conditions = [
      greedy,
      condition(1, sampled()),
      condition(2, { ...sampled({ sampler: 'inverse-cdf' }), name: 'inverse' }),
    ];
    const study = outcome(
      conditions,
      conditions.flatMap((at) =>
        times(at.index + 6, (i) => unit(at, i, { answers: answers({ cached: true, uncached: false }) })),
      ),
    );
    const paired = study.conditions.map(({ results: found }) => found!.accuracy.paired!);
    // p = 2^-5, 2^-6, 2^-7, smallest first times 3, 2, 1.
    expect(paired.map(({ adjustedP }) => adjustedP)).toEqual([
      expect.closeTo(1 / 32, 12),
      expect.closeTo(2 / 64, 12),
      expect.closeTo(3 / 128, 12),
    ]);
    // 2^-6 ≤ 0.05/3 < 2^-5.
    expect(paired.map(({ neededDiscordant, testable }) => [neededDiscordant, testable])).toEqual([
      [7, false],
      [7, true],
      [7, true],
    ]);
  });
});

describe('texts and first divergence', () => {
  const units = [
    unit(greedy, 0, diverging(3, 0.004)),
    unit(greedy, 1, diverging(3, 0.05)),
    unit(greedy, 2, { answers: answers({ stop: 'end', tokens: 6 }), sums: { steps: 5 } }),
    unit(greedy, 3, { answers: answers({ stop: 'stop-sequence', tokens: 11 }) }),
    unit(greedy, 4),
    unit(greedy, 5, { answers: answers({ stop: 'context' }) }),
  ];
  const { divergence, firstDivergence } = results(units);

  it('identical to the end is not identical at the limit', () => {
    expect(divergence).toMatchObject({ diverged: 2, equalToEnd: 2, equalAtLimit: 2 });
    expect(divergence.share.value).toBeCloseTo(1 / 3, 12);
  });

  it('the end of a text competes, the limit censors', () => {
    // 2/6 at step 3; at 5 one of 4 ends; at 10 one of the 3 left ends.
    expect(firstDivergence.incidence).toEqual([
      { step: 3, diverged: 2 / 6, ended: 0, atRisk: 6 },
      { step: 5, diverged: 2 / 6, ended: expect.closeTo(4 / 6 / 4, 12), atRisk: 4 },
      { step: 10, diverged: 2 / 6, ended: expect.closeTo(1 / 6 + 1 / 2 / 3, 12), atRisk: 3 },
    ]);
    expect(firstDivergence.at.map(({ step }) => step)).toEqual([1, 2, 5, 10]);
    expect(firstDivergence.median).toBeNull();
  });

  it('shows no step beyond the longest text', () => {
    const short = results([unit(greedy, 0, diverging(1)), unit(greedy, 1, { sums: { steps: 3 } })]);
    expect(short.firstDivergence.at.map(({ step }) => step)).toEqual([1, 2, 3]);
  });

  it('shows the margins of first flips, widest first; without a placebo none is known to be suspect', () => {
    expect(firstDivergence.margins).toEqual({ count: 2, min: 0.004, median: 0.027, max: 0.05 });
    expect(firstDivergence.widest.map(({ prompt, suspect }) => [prompt, suspect])).toEqual([
      ['p0001', null],
      ['p0000', null],
    ]);
    expect(firstDivergence).toMatchObject({ suspects: null, suspectAbove: null, unexplained: 0 });
  });

  it('a text that diverges where no flip is has no explanation', () => {
    const found = results([unit(greedy, 0, { ...diverging(3), divergedAt: 2 }), unit(greedy, 1, { divergedAt: 4 })]);
    expect(found.firstDivergence.unexplained).toBe(2);
  });
});

describe('suspects', () => {
  const drift = (...values: number[]): UnitSummary['placebo'] => ({
    ...{ correct: [], divergedAt: [null, 4] },
    drift: values.map((value) => [driftBin(value), 500]),
  });

  it('the placebo’s drift is pooled over the prompts of the condition', () => {
    const found = results([
      unit(greedy, 0, { ...diverging(3, 0.021), placebo: drift(0.001, 0.02) }),
      unit(greedy, 1, { ...diverging(5, 0.019), placebo: drift(0.002) }),
      unit(greedy, 2, { ...diverging(5, 0.03) }),
    ]);
    // Bins are 1.1 % wide: 0.02 ends below 0.0203.
    expect(found.firstDivergence.suspectAbove).toBeGreaterThanOrEqual(0.02);
    expect(found.firstDivergence.suspectAbove).toBeLessThan(0.0203);
    expect(found.firstDivergence.suspects).toBe(2);
    expect(found.placebo).toMatchObject({ prompts: 2, seeds: 2, samples: 1_500, texts: 4, diverged: 2 });
  });

  it('one without a placebo of its own, or within it, is not explained, and counted', () => {
    const found = results([
      // 2,000 small drifts, and one that 99.9 % do not reach.
      unit(greedy, 0, {
        ...diverging(3, 0.5),
        placebo: {
          ...{ correct: [], divergedAt: [] },
          drift: [
            [driftBin(0.001), 2_000],
            [driftBin(0.9), 1],
          ],
        },
      }),
      unit(greedy, 1, { ...diverging(3, 0.5), placebo: drift(0.001) }),
      unit(greedy, 2, diverging(3, 0.5)),
      unit(greedy, 3, diverging(3, 0.7)),
      unit(greedy, 4, diverging(3, 0.0001)),
    ]);
    expect(found.firstDivergence).toMatchObject({
      ...{ suspects: 4, notExplained: { withoutPlacebo: 2, withinPlacebo: 1 } },
    });
    expect(results([unit(greedy, 0, diverging(3, 9))]).firstDivergence.notExplained).toBeNull();
  });

  it('the cut of top-p, or a draw without a margin, is never suspect', () => {
    const found = results([
      unit(greedy, 0, { ...diverging(3, 5, { boundary: true }), placebo: drift(0.001) }),
      unit(greedy, 1, { ...diverging(3, null), placebo: drift(0.001) }),
    ]);
    expect(found.firstDivergence).toMatchObject({ suspects: 0, boundary: 1, withoutMargin: 1 });
  });
});

describe('flip rate', () => {
  it('without a flip names what bounds it: prompts, and steps', () => {
    const { flips } = results(times(59, (i) => unit(greedy, i)));
    expect(flips).toMatchObject({ flips: 0, perToken: { value: 0, lower: 0, upper: null } });
    expect(flips.none!.prompts).toBeCloseTo(0.0495, 4);
    expect(flips.none!.steps).toBeCloseTo(3 / 590, 4);
  });

  it('ties and cuts are counted apart', () => {
    const flip = (step: number, more = {}) => ({ step, margin: 0, tie: false, boundary: false, ...more });
    const { flips } = results([
      unit(greedy, 0, { flips: [flip(1, { tie: true, boundary: true }), flip(2, { boundary: true }), flip(4)] }),
      unit(greedy, 1),
    ]);
    expect(flips).toMatchObject({ flips: 3, ties: 1, boundary: 1, none: null });
    expect(flips.perToken!.value).toBeCloseTo(3 / 20, 12);
    expect(flips.plainPerToken!.value).toBeCloseTo(1 / 20, 12);
  });
});

describe('sampled conditions', () => {
  const keyed = condition(0, sampled());
  const bounds = { tvProcessed: 1, tvProcessedUpper: 1.8 };
  const flipping = (share: number) =>
    times(100, (i) => unit(keyed, i, { sums: bounds, ...(i < 100 * share ? diverging() : {}) }));

  it('the observed rate is set against mean TV and mean 2 TV / (1 + TV)', () => {
    // Bounds 0.1 and 0.18 per step; a flip in each of 100 prompts is 0.1 per step.
    const inside = results(flipping(1), keyed).prediction!;
    expect(inside).toMatchObject({ kind: 'sampled', coupling: 'gumbel', within: true });
    expect(inside).toMatchObject({ lower: { value: 0.1 }, upper: { value: expect.closeTo(0.18, 12) } });
    expect(results(flipping(0.3), keyed).prediction).toMatchObject({ within: false });
    expect(results(flipping(0), keyed).prediction).toMatchObject({ within: false });
  });

  it.each([
    ['inverse-cdf', condition(0, sampled({ sampler: 'inverse-cdf' }))],
    ['independent', condition(0, { ...sampled(), coupling: 'independent' })],
  ])('%s draws have no such bounds', (coupling, at) => {
    const units = times(10, (i) => unit(at, i, { sums: bounds }));
    expect(results(units, at).prediction).toMatchObject({ coupling, within: null });
  });
});

describe('drift', () => {
  const sums = { l2Centred: 5, kl: 0.2, tv: 0.1, errorCached: 4, errorUncached: 2 };

  it('is a mean per step, with an interval by prompt', () => {
    const { drift, reference } = results(times(6, (i) => unit(greedy, i, { sums: { ...sums, kl: 0.1 * i } })));
    expect(drift.l2).toEqual({ value: 0.5, lower: 0.5, upper: 0.5 });
    expect(drift.kl!.value).toBeCloseTo(0.025, 12);
    expect(drift.kl!.lower!).toBeLessThan(0.025);
    expect(reference.oracle).toMatchObject({ closer: 'uncached', ratio: { value: 2 }, prompts: 6, steps: 60 });
    expect(reference.single).toBeNull();
    const nearer = results(
      times(6, (i) => unit(greedy, i, { sums: { single: { cached: 1, uncached: 2 + (i % 2) } } })),
    );
    expect(nearer.reference.single!.closer).toBe('cached');
  });

  it('neither arm is closer where the ratio’s interval holds 1', () => {
    const found = results(
      times(6, (i) => unit(greedy, i, { sums: { double: { cached: i % 2 ? 3 : 1, uncached: 2 } } })),
    );
    expect(found.reference.double!.closer).toBe('neither');
  });

  it('what is not a number is not averaged', () => {
    const { drift } = results([unit(greedy, 0, { sums: { l2Centred: Number.NaN } }), unit(greedy, 1)]);
    expect(drift).toMatchObject({ l2: null, kl: { value: 0 } });
  });

  it('layers: root mean square, share of equal steps, and what each part makes of it', () => {
    const { layers } = results([
      unit(greedy, 0, {
        layers: [layer(-1, null, { equal: 10 }), layer(0, 0.3, { viaHistory: 1, relL2: 4, relL2Squared: 40 })],
      }),
      unit(greedy, 1, { layers: [layer(-1, null, { equal: 10 }), layer(0, 0.1, { viaHistory: 1, relL2Squared: 40 })] }),
      unit(greedy, 2),
    ]);
    expect(layers!.map(({ layer: at, prompts, equalShare, rms }) => [at, prompts, equalShare, rms])).toEqual([
      [-1, 2, 1, 0],
      [0, 2, 0, 2],
    ]);
    expect(layers![1].mean!.value).toBeCloseTo(4 / 20, 12);
    expect(layers![0].added).toBeNull();
    expect(layers![1].added!.mean!.value).toBeCloseTo(0.2, 12);
    expect(layers![1].added!.share).toBeCloseTo(4 / 6, 12);
  });

  it('cells: a ratio of sums over prompts, by horizon', () => {
    const cell = {
      spec: 'two-by-two',
      history: 'recomputed',
      kernel: 'decode',
      hook: 'blocks.*.attn.hook_cache_k',
      cells: 1,
    };
    const rest = { vacuous: 1, byConstruction: 0, harmful: 0, exact: 1 };
    const { cells } = results([
      unit(greedy, 0, {
        cells: [
          { ...cell, ...rest, horizon: 20, base: 1, patched: 1 },
          { ...cell, ...rest, horizon: 1, base: 10, patched: 1 },
        ],
      }),
      unit(greedy, 1, { cells: [{ ...cell, ...rest, horizon: 1, base: 1, patched: 1 }] }),
      // Patched, but no cell of it counts: not drawn, and not among the prompts.
      unit(greedy, 2, { cells: [{ ...cell, ...rest, cells: 0, horizon: 20, base: 0, patched: 0 }] }),
    ]);
    expect(cells.map(({ horizon, cells: count, vacuous }) => [horizon, count, vacuous])).toEqual([
      [1, 2, 2],
      [20, 1, 2],
    ]);
    expect(cells[0].recovery!.value).toBeCloseTo(1 - 2 / 11, 12);
    expect(cells[1].recovery).toEqual({ value: 0, lower: null, upper: null });
    expect(cells.map(({ prompts }) => prompts)).toEqual([2, 1]);
  });

  it('order-matched decoding stands beside ordinary decoding of the same prompts', () => {
    const found = results([
      unit(greedy, 0, { sums: { l2Centred: 5 }, orderMatched: { steps: 10, differingElements: 0, distance: 0 } }),
      unit(greedy, 1, { sums: { l2Centred: 900 } }),
    ]);
    expect(found.orderMatched).toEqual({ prompts: 1, steps: 10, differingElements: 0, distance: 0, ordinary: 0.5 });
  });

  it('the placebo’s histogram holds what suspects are judged by', () => {
    const drift = (...values: number[]): [number, number][] => values.map((value) => [driftBin(value), 300]);
    const made = [drift(0.001, 0.02, 0.3), drift(0.3, 7)].map((bins, i) =>
      unit(greedy, i, { placebo: { correct: [], divergedAt: [], drift: bins } }),
    );
    const { placebo, firstDivergence } = results(made);
    const { bins, samples, drift: extreme } = placebo!;
    expect(bins.map(([, count]) => count)).toEqual([300, 300, 600, 300]);
    expect(bins.reduce((sum, [, count]) => sum + count, 0)).toBe(samples);
    bins.forEach(([upper], i) => {
      const value = [0.001, 0.02, 0.3, 7][i];
      expect(upper).toBeGreaterThanOrEqual(value);
      expect(upper).toBeLessThan(1.2 * value);
    });
    // One in a thousand may lie above: of 1,500 values one, and the widest bin holds 300.
    expect(extreme).toBe(bins.at(-1)![0]);
    expect(firstDivergence.suspectAbove).toBe(extreme);
  });

  it('temperatures, recomputed steps and non-finite elements add up', () => {
    const found = results([
      unit(greedy, 0, {
        temperatures: [
          { temperature: 1, tv: 1, upper: 1.5 },
          { temperature: 0.5, tv: 2, upper: 2.5 },
        ],
        uncached: { checked: 2, failed: 1, recomputed: true },
        nonfinite: { elements: 3, nan: 1, hook: 'logits' },
      }),
      unit(greedy, 1, { temperatures: [{ temperature: 1, tv: 3, upper: 3.5 }] }),
    ]);
    expect(found.temperatures.map(({ temperature, tv, upper }) => [temperature, tv!.value, upper!.value])).toEqual([
      [0.5, 0.2, 0.25],
      [1, 0.2, 0.25],
    ]);
    // All 11 of one prompt, and one check of the other.
    expect(found.uncached).toEqual({ checked: 3, failed: 1, recomputed: 1, steps: 12 });
    expect(found.nonfinite).toEqual({ elements: 3, nan: 1, hooks: ['logits'] });
  });
});
