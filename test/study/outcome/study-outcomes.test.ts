/** The stream of units, gates, order, and what the outcome says of the machine. */
import { describe, expect, it } from 'vitest';
import { kernelPresets, namedKernels } from '../../../src/graph/kernels.ts';
import { policies } from '../../../src/graph/rounding.ts';
import { RandomStream } from '../../../src/numerics/random.ts';
import type { Condition } from '../../../src/study/definition/condition.ts';
import { gateGroup } from '../../../src/study/outcome/gate-groups.ts';
import { machineSentence } from '../../../src/study/outcome/machine.ts';
import { settingName } from '../../../src/study/outcome/setting.ts';
import { StudyOutcomes } from '../../../src/study/outcome/study-outcomes.ts';
import { driftBin, type UnitSummary } from '../../../src/study/unit/unit-summary.ts';
import {
  answers,
  condition,
  diverging,
  gates,
  layer,
  llama,
  mistral,
  outcome,
  sampled,
  times,
  unit,
} from '../unit-fixture.ts';

const conditions = [
  condition(0),
  condition(1, { model: mistral }),
  condition(2, { ...sampled() }),
  condition(3, { policy: policies.fp32 }),
  condition(4, { policy: policies.fp32, model: mistral }),
];

/** Units in which every figure has something to say, drawn from a seed. */
function made(): UnitSummary[] {
  const stream = new RandomStream(3, 'units');
  const some = () => stream.uniform();
  return conditions.flatMap((at) =>
    times(30, (i) => {
      const apart = some() < 0.5;
      return unit(at, i, {
        ...(apart ? diverging(1 + stream.integer(9), some() / 100) : {}),
        sums: {
          ...{ l2Centred: some(), kl: some() / 100, js: some() / 300, tv: some() / 10 },
          ...{
            tvProcessed: some() / 10,
            tvProcessedUpper: 0.1 + some() / 10,
            errorCached: some(),
            errorUncached: some(),
          },
        },
        margins: times(10, some),
        shifts: times(10, () => stream.normal() / 10),
        answers: answers({ cached: some() < 0.7, uncached: some() < 0.7, stop: some() < 0.5 ? 'end' : 'limit' }),
        layers: times(3, (l) => layer(l, some())),
        temperatures: [{ temperature: 1, tv: some(), upper: 1 + some() }],
        placebo: { correct: times(19, () => some() < 0.7), divergedAt: [null], drift: [[driftBin(some()), 100]] },
        orderMatched: { steps: 10, differingElements: 0, distance: 0 },
      });
    }),
  );
}

describe('the stream of units', () => {
  it('gives plain JSON: nothing is lost in writing it down', () => {
    const study = outcome(conditions, made());
    expect(JSON.parse(JSON.stringify(study))).toEqual(study);
  });

  it('the order of prompts within a condition does not matter, to the last bit', () => {
    const units = made();
    const shuffled = units
      .map((each, i) => ({ each, key: (i * 7919) % units.length }))
      .sort((a, b) => a.each.condition - b.each.condition || a.key - b.key)
      .map(({ each }) => each);
    expect(shuffled.map(({ prompt }) => prompt)).not.toEqual(units.map(({ prompt }) => prompt));
    expect(outcome(conditions, shuffled)).toEqual(outcome(conditions, units));
  });

  it('the same units give the same outcome', () => {
    expect(outcome(conditions, made())).toEqual(outcome(conditions, made()));
  });

  it('prompts that never differ widen nothing but the denominators', () => {
    const [at] = conditions;
    const few = outcome(
      [at],
      times(10, (i) => unit(at, i, i < 5 ? diverging() : {})),
    );
    const more = outcome(
      [at],
      times(20, (i) => unit(at, i, i < 5 ? diverging() : {})),
    );
    expect(few.conditions[0].results!.divergence.share.value).toBe(0.5);
    expect(more.conditions[0].results!.divergence.share.value).toBe(0.25);
  });

  it.each([
    ['an unknown condition', [unit(condition(9), 0)], /condition 9/],
    ['conditions out of order', [unit(conditions[1], 0), unit(conditions[0], 0)], /after those of condition 1/],
    ['a prompt twice', [unit(conditions[0], 0), unit(conditions[0], 0)], /second unit of prompt p0000/],
    ['margins that are not one per step', [unit(conditions[0], 0, { margins: [1] })], /1 margins/],
    ['a flip at step 0', [unit(conditions[0], 0, diverging(0))], /flips at 0/],
  ])('%s is a bug, and said to be one', (_, units, message) => {
    expect(() => outcome(conditions, units)).toThrow(message);
  });

  it('a condition without a unit is left out', () => {
    const study = outcome(conditions, [unit(conditions[0], 0)]);
    expect(study.conditions.map(({ index }) => index)).toEqual([0]);
  });
});

describe('gates', () => {
  it('a failed harness gate voids its group: no numbers, and no verdict rests on them', () => {
    const study = outcome(conditions, made(), { 1: ['repeat'] });
    const voided = study.conditions.find(({ index }) => index === 1)!;
    expect(voided).toMatchObject({ failedGates: ['repeat'], results: null });
    expect(study.conditions.filter(({ results }) => results === null)).toHaveLength(1);
    expect(study.verdicts.filter(({ model }) => model === mistral.name)).toEqual([]);
    expect(study.falsification.map(({ model }) => model)).toEqual([llama.name]);
    const overall = study.verdicts.find(({ claim, part }) => claim === 'C1' && part === 'overall')!;
    expect(overall.inputs).toMatchObject({ conditions: 2, voided: 1 });
    expect(overall.scope).toContain('left out, a harness gate failed: tiny-mistral');
  });

  it('and without its units it is still said to be left out', () => {
    const spared = made().filter(({ condition: index }) => index !== 1);
    const failed = { 1: ['repeat'] };
    expect(outcome(conditions, spared, failed)).toEqual(outcome(conditions, made(), failed));
  });

  it('a gate that was not run guards nothing', () => {
    const [at] = conditions;
    const units = times(60, (i) => unit(at, i, { answers: answers({ stop: 'end' }) }));
    const judged = (names: readonly string[]) => {
      const gatesByGroup = new Map([[gateGroup(at), gates().filter(({ name }) => !names.includes(name))]]);
      const study = new StudyOutcomes({ conditions: [at] });
      for (const each of units) study.add(each);
      return study.finish(gatesByGroup);
    };
    const c1 = (names: readonly string[]) =>
      judged(names).verdicts.find(({ claim, part }) => claim === 'C1' && part === 'overall')!.verdict;
    expect(c1([])).toBe('contradicted');
    expect(c1(['prefix'])).toBe('not identifiable');
    expect(judged(['prefix']).conditions[0].gatesNotRun).toEqual(['prefix']);
  });
});

describe('the table', () => {
  it('has one headline per claim, kernels and half precision', () => {
    const crossed = [policies.fp16, policies.bf16, policies.fp32].flatMap((policy, p) =>
      [kernelPresets.ort, kernelPresets.folded].map((kernels, k) => condition(2 * p + k, { policy, kernels })),
    );
    const { table } = outcome(
      crossed,
      crossed.flatMap((at) => times(3, (i) => unit(at, i))),
    );
    const headlines = table.filter(({ headline }) => headline);
    expect(headlines).toHaveLength(5 * 2 * 2);
    expect(new Set(headlines.map(({ claim, part }) => `${claim} ${part}`))).toEqual(
      new Set(['C1 overall', 'C2 direction', 'C3 sole cause', 'C4 pattern', 'C5 c']),
    );
    expect(headlines.every(({ precision }) => precision !== 'fp32')).toBe(true);
  });
});

describe('padding, and random numbers of each arm its own', () => {
  const crossed = [
    condition(0),
    condition(1, { padding: 7 }),
    condition(2, { ...sampled(), coupling: 'independent' }),
    condition(3, { padding: 7, policy: policies.fp32 }),
  ];
  const drifting = crossed.flatMap((at) => times(3, (i) => unit(at, i)));
  const study = outcome(crossed, drifting);

  it('are judged apart from what the cache does, and say so', () => {
    const overall = study.verdicts.filter(({ claim, part }) => claim === 'C1' && part === 'overall');
    expect(overall.map(settingName)).toEqual(['fp16 · ort', 'fp16 · ort · pad 7', 'fp16 · ort · unkeyed']);
    expect(overall.map(({ inputs }) => inputs.conditions)).toEqual([1, 1, 1]);
    const [plain, padded, unkeyed] = overall.map(({ scope }) => scope);
    expect(plain).not.toMatch(/pad|random/);
    expect(padded).toContain('cached arm padded by 7 on the left');
    expect(unkeyed).toContain('random numbers of each arm its own');
    expect(new Set(study.table.map(settingName)).size).toBe(3);
  });

  it('half precision is set against single precision of the same padding', () => {
    expect(study.falsification.map((found) => [settingName(found), found.control])).toEqual([
      ['fp16 · ort · pad 7', 'fp32'],
    ]);
  });

  it('the adjustment of Holm takes conditions of one setting', () => {
    const judged = (index: number, only: number) =>
      times(8, (i) =>
        unit(crossed[index], i, { answers: answers({ cached: i < only, uncached: false, stop: 'end' }) }),
      );
    const pairedOf = (at: readonly Condition[]) =>
      outcome(at, [...judged(0, 6), ...judged(1, 7)]).conditions.map(({ results }) => results!.accuracy.paired!);
    const apart = pairedOf(crossed.slice(0, 2));
    expect(apart.map(({ p, adjustedP, family }) => [adjustedP === p, family])).toEqual(times(2, () => [true, 1]));
    const together = pairedOf([condition(0), condition(1, sampled())]);
    expect(together.map(({ p, adjustedP, family }) => [adjustedP === p, family])).toEqual([
      [true, 2],
      [false, 2],
    ]);
  });
});

describe('the machine', () => {
  it('is named: storage, accumulation, and which kernels are emulated', () => {
    const split = condition(0, { kernels: namedKernels('split-k:4:storage')! });
    expect(machineSentence([condition(0), split])).toBe(
      'Measured on a CPU: fp16 storage with per-operation rounding and fp32 accumulation. Kernels of a GPU are emulated in the graph: split-k:4:storage. This tests the logic of the claims and is no GPU’s native figure; one model per architecture identifies no effect of the architecture.',
    );
    expect(machineSentence([condition(0, { policy: policies.fp32 })])).toMatch(/without half precision/);
  });
});
