/** Which gate of which run leaves which part of a claim open: every part, every identification gate, in a study that decides all. */
import { describe, expect, it } from 'vitest';
import { kernelPresets } from '../../../src/graph/kernels.ts';
import { policies, type RoundingPolicy } from '../../../src/graph/rounding.ts';
import { type CellSums, driftBin } from '../../../src/study/unit/unit-summary.ts';
import {
  answers,
  condition,
  diverging,
  gates,
  gemma,
  layer,
  llama,
  mistral,
  outcome,
  prompts,
  type UnitChanges,
  verdictOn,
} from '../unit-fixture.ts';

/** Activations in single precision, weights as in fp16. */
const wide: RoundingPolicy = {
  ...{ name: 'wide', compute: 'float32', default: 'f32' },
  places: { weights: 'f16' },
};
const runs = { own: policies.fp16, control: policies.fp32, wide } as const;
type Run = keyof typeof runs;

const twin = { ...mistral, name: 'tiny-mistral (expanded KV)', kvHeads: mistral.heads };
const profiles = new Map([
  [llama, [0.1, 0.1, 0.1, 0.1]],
  [mistral, [0.9, 0.1, 0.1, 0.1]],
  [gemma, [0.2, 0.2, 0.2, 0.2]],
  [twin, [0.2, 0.2, 0.2, 0.2]],
]);
const conditions = Object.values(runs).flatMap((policy, p) =>
  [...profiles.keys()].map((model, m) =>
    condition(p * profiles.size + m, { model, policy, kernels: kernelPresets.folded }),
  ),
);

const cell = (changes: Partial<CellSums>): CellSums => ({
  ...{ spec: 'two-by-two', history: 'recomputed', kernel: 'decode', hook: '*', horizon: 0, cells: 1 },
  ...{ base: 1, patched: 0.1, vacuous: 0, byConstruction: 0, harmful: 0, exact: 0, ...changes },
});

/** What half precision looks like where every claim is decided. */
const half = (profile: readonly number[]): UnitChanges => ({
  ...diverging(),
  answers: answers({ cached: false, uncached: true }),
  placebo: { correct: [], divergedAt: [], drift: [[driftBin(0.01), 1_000]] },
  sums: { l2Centred: 0.1, kl: 1e-4 },
  orderMatched: { steps: 20, differingElements: 0, distance: 0 },
  layers: profile.map((added, at) => layer(at, added)),
  cells: [
    ...[0, 1].map((horizon) => cell({ horizon })),
    ...[1, 5, 20].map((horizon) => cell({ spec: 'residual', history: 'cached', horizon, patched: 0.99 })),
  ],
});

const units = conditions.flatMap((at) =>
  prompts(at, 60, () =>
    at.policy === policies.fp16 ? half(profiles.get(at.model) ?? []) : { sums: { l2Centred: 1e-4, kl: 1e-12 } },
  ),
);

/** Parts over all models and, of those that are judged by model, the one. */
const openParts = (failed: readonly string[], run: Run): string[] => {
  const own = conditions.filter(({ policy }) => policy === runs[run]);
  const { verdicts } = outcome(conditions, units, Object.fromEntries(own.map(({ index }) => [index, failed])));
  return verdicts
    .filter(({ verdict }) => verdict === 'not identifiable')
    .map(({ claim, part, model, condition: about }) =>
      [claim, about === null ? part : 'condition', ...(model === null || claim === 'C4' ? [] : ['of a model'])].join(
        ' ',
      ),
    );
};

/** By part: the gates of the half precision, of its control and of the run with wide activations that it rests on. */
const arms = ['prefix', 'finite'];
const restsOn: Record<string, Partial<Record<Run, string[]>>> = {
  'C1 condition of a model': { own: arms },
  'C1 overall': { own: arms },
  'C2 direction': { own: arms },
  'C3 a': { own: arms, control: arms },
  'C3 b': { own: arms, control: arms },
  'C3 c': { own: ['null', ...arms] },
  'C3 d': { own: arms, wide: arms },
  'C3 sole cause': { own: ['null', ...arms], control: arms, wide: arms },
  'C4 sharp at the first layer: tiny-mistral': { own: arms },
  'C4 uniform: tiny-gemma': { own: arms },
  'C4 pattern': { own: arms },
  'C4 attribution to GQA': { own: arms },
  'C5 a': { own: arms },
  'C5 b': { own: ['null', ...arms] },
  'C5 c': { own: ['null', ...arms] },
};
const byModel = (part: string) => /^C[35]/.test(part);
const identification = gates()
  .filter((gate) => gate.class === 'identification')
  .map(({ name }) => name);
const table = Object.keys(runs).flatMap((run) => identification.map((gate) => [gate, run as Run] as const));

describe('a failed identification gate', () => {
  it('is all that leaves a part open here', () => {
    expect(openParts([], 'own')).toEqual([]);
  });

  it.each(table)('%s of the %s run opens the parts that rest on it, and no other', (gate, run) => {
    const expected = Object.entries(restsOn).flatMap(([part, on]) => {
      if (!on[run]?.includes(gate)) return [];
      return byModel(part) ? [part, `${part} of a model`] : [part];
    });
    expect([...new Set(openParts([gate], run))].sort()).toEqual(expected.sort());
  });

  it('of the harness leaves no model’s numbers, and nothing that all models would have to support', () => {
    const [voided] = conditions.filter(({ policy, model }) => policy === policies.fp16 && model === gemma);
    const study = outcome(conditions, units, { [voided.index]: ['repeat'] });
    for (const [claim, part] of ['a', 'b', 'c', 'd', 'sole cause'].map((each) => ['C3', each])) {
      expect(verdictOn(study, claim, part, llama.name).verdict).toBe('supported');
      expect(verdictOn(study, claim, part).verdict).toBe('not identifiable');
    }
    for (const part of ['a', 'b']) {
      expect(verdictOn(study, 'C5', part, llama.name).verdict).toBe('supported');
      expect(verdictOn(study, 'C5', part).verdict).toBe('not identifiable');
    }
    expect(study.verdicts.filter(({ model }) => model === gemma.name)).toEqual([]);
  });

  it('leaves the control out of C3 by name; its figures are printed even so', () => {
    const control = conditions.filter(({ policy }) => policy === policies.fp32);
    const failed = Object.fromEntries(control.map(({ index }) => [index, ['finite']]));
    const study = outcome(conditions, units, failed);
    expect(verdictOn(study, 'C3', 'a', llama.name).inputs).toMatchObject({ single: null });
    expect(verdictOn(study, 'C3', 'a', llama.name).scope).toContain(
      'left out, a gate failed or was not run: fp32 (finite)',
    );
    expect(study.falsification).toEqual(outcome(conditions, units).falsification);
    expect(study.falsification).toHaveLength(profiles.size);
  });
});
