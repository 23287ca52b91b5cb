/** C3, C4 and C5 from units: what drift, layers and cells have to look like for each verdict. */
import { describe, expect, it } from 'vitest';
import { kernelPresets, namedKernels } from '../../../src/graph/kernels.ts';
import { policies, type RoundingPolicy } from '../../../src/graph/rounding.ts';
import type { Condition } from '../../../src/study/definition/condition.ts';
import type { CellSums } from '../../../src/study/unit/unit-summary.ts';
import {
  condition,
  diverging,
  finding,
  gemma,
  layer,
  llama,
  mistral,
  outcome,
  prompts,
  sampled,
  type UnitChanges,
  verdictOn,
} from '../unit-fixture.ts';

/** Activations in single precision, weights as in fp16. */
const wide: RoundingPolicy = {
  ...{ name: 'anything', compute: 'float32', default: 'f32' },
  places: { weights: 'f16', rotary_table: 'f16', logits: 'f32' },
};

describe('C3 from units', () => {
  const precisions = [policies.fp16, policies.fp32, wide];
  const conditions = precisions.flatMap((policy, i) =>
    [llama, mistral].map((model, m) => condition(2 * i + m, { policy, model })),
  );
  const matched = { steps: 20, differingElements: 0, distance: 0 };
  const study = (
    change: (at: Condition, index: number) => UnitChanges = () => ({}),
    use: readonly Condition[] = conditions,
    failed: Record<number, string[]> = {},
  ) =>
    outcome(
      use,
      use.flatMap((at) =>
        prompts(at, 60, (i) => {
          const half = at.policy === policies.fp16;
          const sums = { l2Centred: half ? 0.1 : 1e-4, kl: half ? 1e-4 : 1e-12 };
          return { sums, ...(half ? { ...diverging(), orderMatched: matched } : {}), ...change(at, i) };
        }),
      ),
      failed,
    );

  it('finds control and wide activations by what they round, and supports every part', () => {
    const whole = study();
    for (const model of [llama.name, mistral.name, null]) {
      for (const part of ['a', 'b', 'c', 'd', 'sole cause']) {
        expect(finding(whole, 'C3', part, model)).toBe('supported');
      }
    }
    expect(verdictOn(whole, 'C3', 'b', llama.name).inputs).toMatchObject({
      ...{ logits_l2_centred: expect.closeTo(3, 9), kl: expect.closeTo(8, 9) },
    });
    expect(verdictOn(whole, 'C3', 'a', llama.name).scope).toBe('tiny-llama; 60 prompts; fp16; ort; control fp32');
    expect(verdictOn(whole, 'C3', 'sole cause').headline).toBe(true);
  });

  it('judges half precisions only', () => {
    expect(new Set(study().verdicts.map(({ precision }) => precision))).toEqual(new Set(['fp16']));
  });

  it('one flip in single precision in one model contradicts it, an exact tie does not', () => {
    const flipping = (tie: boolean) =>
      study((at, i) =>
        at.policy === policies.fp32 && at.model === mistral && i === 3 ? diverging(2, 0, { tie }) : {},
      );
    expect(finding(flipping(false), 'C3', 'a')).toBe('contradicted');
    expect(finding(flipping(false), 'C3', 'a', llama.name)).toBe('supported');
    expect(finding(flipping(true), 'C3', 'a')).toBe('not identifiable');
  });

  it('is open without a control, without wide activations, and under other kernels', () => {
    expect(finding(study(undefined, conditions.slice(0, 2)), 'C3', 'a')).toBe('not identifiable');
    const narrow = study(undefined, conditions.slice(0, 4));
    expect([finding(narrow, 'C3', 'a'), finding(narrow, 'C3', 'd')]).toEqual(['supported', 'not identifiable']);
    const other = conditions.map((at) =>
      at.policy === policies.fp32
        ? condition(at.index, { ...at, name: `x${at.index}`, kernels: kernelPresets.folded })
        : at,
    );
    expect(finding(study(undefined, other), 'C3', 'a')).toBe('not identifiable');
  });

  it('wide activations that flip as often contradict d', () => {
    expect(
      finding(
        study((at) => (at.policy === wide ? diverging() : {})),
        'C3',
        'd',
      ),
    ).toBe('contradicted');
  });

  it('a differing element of order-matched decoding contradicts c', () => {
    const off = study((at, i) =>
      at.index === 0 && i === 5 ? { orderMatched: { steps: 20, differingElements: 1, distance: 0 } } : {},
    );
    expect([finding(off, 'C3', 'c', llama.name), finding(off, 'C3', 'sole cause')]).toEqual([
      'contradicted',
      'contradicted',
    ]);
  });

  it('of padded arms it leaves c open, and without padding contradicts it all the same', () => {
    const at = [condition(0), condition(1, { padding: 7 })];
    const found = study(() => ({ orderMatched: { steps: 20, differingElements: 1, distance: 0 } }), at);
    const c = found.verdicts.filter(({ claim, part, model }) => claim === 'C3' && part === 'c' && model !== null);
    expect(c.map(({ padding, verdict }) => [padding, verdict])).toEqual([
      [0, 'contradicted'],
      [7, 'not identifiable'],
    ]);
  });

  it('independent draws are no evidence on flips', () => {
    const apart = precisions.map((policy, i) =>
      condition(6 + i, { ...sampled(), strategyName: 't1.0-unkeyed', policy, coupling: 'independent' }),
    );
    const mixed = study((at) => (at.coupling === 'independent' ? diverging(2, 3) : {}), [...conditions, ...apart]);
    expect(finding(mixed, 'C3', 'a')).toBe('supported');
  });

  it('a failed null gate leaves c open, in that model only', () => {
    const doubted = study(undefined, conditions, { 0: ['null'] });
    expect(finding(doubted, 'C3', 'c', llama.name)).toBe('not identifiable');
    expect(finding(doubted, 'C3', 'c', mistral.name)).toBe('supported');
    expect(finding(doubted, 'C3', 'c')).toBe('not identifiable');
  });

  it('says what mechanism is left: sums in single precision, or partial sums in 16 bits', () => {
    expect(verdictOn(study(), 'C3', 'sole cause', llama.name).inputs.mechanism).toMatch(/^fp32 reordering/);
    const kernels = namedKernels('split-k:2:storage')!;
    const split = study(
      undefined,
      conditions.map((at) => condition(at.index, { ...at, name: `s${at.index}`, kernels })),
    );
    expect(verdictOn(split, 'C3', 'sole cause', llama.name).inputs.mechanism).toMatch(/16 bits/);
    expect(verdictOn(split, 'C3', 'a', llama.name).scope).toContain('split-k:2:storage (emulated in the graph)');
  });

  it('the falsification stands beside what rounding alone predicts: 13 and 26 bits', () => {
    const { falsification } = study();
    expect(falsification.map(({ model, control }) => [model, control])).toEqual([
      ['tiny-llama', 'fp32'],
      ['tiny-mistral', 'fp32'],
    ]);
    expect(falsification[0]).toMatchObject({
      ...{ l2: { value: expect.closeTo(3, 9) }, kl: { value: expect.closeTo(8, 9) }, prompts: 60 },
      predicted: { linear: expect.closeTo(3.913, 3), quadratic: expect.closeTo(7.827, 3), powersOfTwo: [13, 26] },
    });
  });

  it('the falsification has the interval that b is judged by', () => {
    const varied = study((at, i) => ({
      sums: {
        l2Centred: at.policy === policies.fp16 ? Math.sqrt(1 + i) : 1e-4,
        kl: at.policy === policies.fp16 ? i : 1,
      },
    }));
    const { l2, kl } = varied.falsification[0];
    const { inputs } = verdictOn(varied, 'C3', 'b', llama.name);
    expect([l2, kl]).toMatchObject([
      { lower: inputs['logits_l2_centred.lower'], upper: inputs['logits_l2_centred.upper'] },
      { lower: inputs['kl.lower'], upper: inputs['kl.upper'] },
    ]);
    expect(l2!.lower).toBeLessThan(l2!.upper!);
  });

  it('the falsification is shown under every strategy of the control, whatever else was run', () => {
    const more = [
      ...conditions,
      ...[policies.fp16, policies.fp32].map((policy, i) => condition(6 + i, { ...sampled(), policy })),
    ];
    const [own] = study(undefined, more).falsification;
    expect(own).toMatchObject({ model: llama.name, strategies: ['greedy', 't1.0'] });
  });

  it('bf16 is predicted to lie 16 bits above single precision, and needs wide activations of its own', () => {
    const bf16 = conditions.map((at) =>
      at.policy === policies.fp16 ? condition(at.index, { model: at.model, policy: policies.bf16 }) : at,
    );
    const found16 = study((at) => (at.policy === policies.bf16 ? diverging() : {}), bf16);
    expect(found16.falsification[0].predicted.powersOfTwo).toEqual([16, 32]);
    expect(finding(found16, 'C3', 'd')).toBe('not identifiable');
  });
});

describe('C4 from units', () => {
  const models = [llama, mistral, gemma];
  const profiles = {
    'tiny-llama': [0.1, 0.1, 0.1, 0.1],
    'tiny-mistral': [0.9, 0.1, 0.2, 0.3],
    'tiny-gemma': [0.2, 0.2, 0.3, 0.2],
    'tiny-mistral (expanded KV)': [0.2, 0.2, 0.2, 0.2],
  };
  const conditions = models.map((model, i) => condition(i, { model }));
  const study = (change: Partial<Record<string, number[]>> = {}, use: readonly Condition[] = conditions) =>
    outcome(
      use,
      use.flatMap((at) => {
        const profile = { ...profiles, ...change }[at.model.name as keyof typeof profiles] as number[];
        return prompts(at, 12, (i) => ({
          layers: [
            layer(-1, null),
            ...profile.map((added, l) => layer(l, added * (1 + (i % 3) / 100))),
            layer(profile.length, null),
          ],
        }));
      }),
    );

  it('S and U are those of the mean profile, the embedding and the final norm left out', () => {
    const { profiles: shown } = study();
    expect(shown.map(({ model, prompts: count }) => [model, count])).toEqual(models.map(({ name }) => [name, 12]));
    // 0.9 over the median of 0.1, 0.2 and 0.3.
    expect(shown[1].sharpness!.value).toBeCloseTo(4.5, 12);
    expect(shown[1].added.map(({ layer: at }) => at)).toEqual([0, 1, 2, 3]);
    expect(shown[2].unevenness!.value).toBeCloseTo(1.5, 12);
  });

  it('is supported by a sharp first layer in grouped-query models and an even one in Gemma', () => {
    expect(finding(study(), 'C4', 'pattern')).toBe('supported');
    expect(finding(study(), 'C4', `sharp at the first layer: ${mistral.name}`, mistral.name)).toBe('supported');
    expect(finding(study({ 'tiny-mistral': [0.1, 0.1, 0.2, 0.3] }), 'C4', 'pattern')).toBe('contradicted');
    expect(finding(study({ 'tiny-gemma': [0.9, 0.1, 0.2, 0.1] }), 'C4', 'pattern')).toBe('contradicted');
  });

  it('is open where the median layer adds nothing', () => {
    const zero = study({ 'tiny-mistral': [0.9, 0, 0, 0.1] });
    expect(zero.profiles[1].sharpness).toBeNull();
    expect(finding(zero, 'C4', 'pattern')).toBe('not identifiable');
  });

  it('has no interval where the median layer adds nothing in a draw', () => {
    // One prompt of 12 drifts: a third of all draws are without it.
    const rare = outcome(
      conditions,
      conditions.flatMap((at) =>
        prompts(at, 12, (i) => ({ layers: [0.9, 0.1, 0.2, 0.3].map((added, l) => layer(l, i === 0 ? added : 0)) })),
      ),
    );
    expect(rare.profiles[1].sharpness).toEqual({ value: expect.closeTo(4.5, 12), lower: null, upper: null });
    expect(finding(rare, 'C4', 'pattern')).toBe('not identifiable');
  });

  it('attribution needs the expanded twin, and kernels that fold', () => {
    const twin = { ...mistral, name: 'tiny-mistral (expanded KV)', kvHeads: mistral.heads };
    const with4 = (kernels = kernelPresets.ort) =>
      [...models, twin].map((model, i) => condition(i, { model, kernels }));
    expect(finding(study(), 'C4', 'attribution to GQA')).toBe('not identifiable');
    expect(finding(study({}, with4()), 'C4', 'attribution to GQA')).toBe('not identifiable');
    const folded = study({}, with4(kernelPresets.folded));
    expect(finding(folded, 'C4', 'attribution to GQA')).toBe('supported');
    // The twin is a contrast, not a model of the pattern; nor is one of Gemma, however uneven.
    expect(finding(folded, 'C4', 'pattern')).toBe('supported');
    const uneven = { ...gemma, name: 'tiny-gemma (expanded KV)', kvHeads: gemma.heads };
    const twins = [...models, uneven].map((model, i) => condition(i, { model }));
    expect(finding(study({ [uneven.name]: [0.9, 0.1, 0.1, 0.1] }, twins), 'C4', 'pattern')).toBe('supported');
    const stays = study({ 'tiny-mistral (expanded KV)': [0.9, 0.1, 0.2, 0.3] }, with4(kernelPresets.folded));
    expect(finding(stays, 'C4', 'attribution to GQA')).toBe('contradicted');
  });
});

describe('C5 from units', () => {
  const at = condition(0);
  const cell = (changes: Partial<CellSums>): CellSums => ({
    ...{ spec: 'two-by-two', history: 'recomputed', kernel: 'decode', hook: '*.hook_cache_k', horizon: 0, cells: 1 },
    ...{ base: 1, patched: 0.1, vacuous: 0, byConstruction: 0, harmful: 0, exact: 0, ...changes },
  });
  const cells = [
    ...[0, 1].map((horizon) => cell({ horizon })),
    // What must not be read: the other cells of the 2×2, and other specs.
    cell({ history: 'cached', kernel: 'prefill', hook: 'none', patched: 0.9 }),
    cell({ kernel: 'prefill', patched: 0.9 }),
    cell({ history: 'cached', hook: 'none', patched: 0.9 }),
    cell({ spec: 'of mine', patched: 0.9 }),
    ...[0, 1, 5, 20].map((horizon) =>
      cell({ spec: 'residual', history: 'cached', hook: '*.hook_resid_pre', horizon, patched: 0.99 }),
    ),
  ];
  const study = (change: UnitChanges = {}) =>
    outcome(
      [at],
      prompts(at, 10, () => ({
        ...{ cells, sums: { l2Centred: 4 }, orderMatched: { steps: 10, differingElements: 0, distance: 0 } },
        ...change,
      })),
    );

  it('tells a carrier from a root', () => {
    const carrying = study();
    expect(['a', 'b', 'c'].map((part) => finding(carrying, 'C5', part))).toEqual([
      ...['supported', 'supported', 'contradicted'],
    ]);
    expect(verdictOn(carrying, 'C5', 'a', llama.name).inputs['R@5']).toBeCloseTo(0.01, 12);
    expect(verdictOn(carrying, 'C5', 'c', llama.name).inputs).toMatchObject({ ordinary: 0.4, orderMatched: 0 });
    expect(verdictOn(carrying, 'C5', 'c').headline).toBe(true);
  });

  it('order-matched distance is set against ordinary decoding of the same prompts, per step', () => {
    const root = study({ orderMatched: { steps: 5, differingElements: 9, distance: 1 } });
    // 1/5 per step against 4/10 per step: half is kept.
    expect(finding(root, 'C5', 'c')).toBe('supported');
    expect(finding(study({ orderMatched: null }), 'C5', 'c')).toBe('not identifiable');
  });

  it('is open where fewer than six prompts have a cell that counts, however many are patched', () => {
    const counted = (count: number) =>
      outcome(
        [at],
        prompts(at, 12, (i) => ({
          cells: cells.map((each) =>
            i < count ? each : { ...each, cells: 0, base: 0, patched: 0, vacuous: 1, exact: 1 },
          ),
        })),
      );
    expect(['a', 'b'].map((part) => finding(counted(6), 'C5', part))).toEqual(['supported', 'supported']);
    expect(['a', 'b'].map((part) => finding(counted(5), 'C5', part))).toEqual(['not identifiable', 'not identifiable']);
    expect(verdictOn(counted(5), 'C5', 'b', llama.name).inputs['R@0']).toBeNull();
  });

  it('is open without patched cells', () => {
    const bare = study({ cells: null });
    expect(['a', 'b'].map((part) => finding(bare, 'C5', part))).toEqual(['not identifiable', 'not identifiable']);
  });
});
