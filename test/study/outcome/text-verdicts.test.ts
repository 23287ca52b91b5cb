/** C1 and C2 from units: what texts and answers have to look like for each verdict. */
import { describe, expect, it } from 'vitest';
import type { Condition } from '../../../src/study/definition/condition.ts';
import { driftBin, type UnitSummary } from '../../../src/study/unit/unit-summary.ts';
import {
  answers,
  condition,
  diverging,
  finding,
  gemma,
  llama,
  mistral,
  outcome,
  prompts,
  sampled,
  times,
  type UnitChanges,
  verdictOn,
} from '../unit-fixture.ts';

/** 1,000 drifts of at most 0.01 logits. */
const quiet: UnitSummary['placebo'] = { correct: [], divergedAt: [], drift: [[driftBin(0.01), 1_000]] };

describe('C1 from units', () => {
  const at = condition(0);
  const study = (make: (index: number) => UnitChanges, count = 100) => outcome([at], prompts(at, count, make));
  const honest = (i: number): UnitChanges => ({ ...diverging(2 + (i % 5), 0.001), placebo: quiet });

  it('is supported where all texts part at margins that rounding reaches', () => {
    expect(finding(study(honest), 'C1', 'overall')).toBe('supported');
    expect(finding(study(honest, 58), 'C1', 'overall')).toBe('not identifiable');
  });

  it('a fault planted in 2 % of the prompts makes suspects, and C1 is not supported', () => {
    const planted = study((i) => (i % 50 === 0 ? { ...diverging(4, 1.7), placebo: quiet, planted: true } : honest(i)));
    expect(finding(planted, 'C1', 'overall')).toBe('not identifiable');
    const [{ results }] = planted.conditions;
    expect(results).toMatchObject({ planted: 2, firstDivergence: { suspects: 2 } });
    expect(results!.firstDivergence.widest.slice(0, 3).map(({ suspect, planted: own }) => [suspect, own])).toEqual([
      [true, true],
      [true, true],
      [false, false],
    ]);
    expect(verdictOn(planted, 'C1', 'overall').scope).toContain('faults planted in 2 of the prompts');
  });

  it('is open without a placebo, and contradicted by one equal text', () => {
    expect(
      finding(
        study((i) => ({ ...honest(i), placebo: null })),
        'C1',
        'overall',
      ),
    ).toBe('not identifiable');
    const equal = study((i) => (i === 7 ? { answers: answers({ stop: 'end' }), placebo: quiet } : honest(i)));
    expect(finding(equal, 'C1', 'overall')).toBe('contradicted');
  });

  it('independent draws diverge trivially, and are said to', () => {
    const apart = condition(0, { ...sampled(), coupling: 'independent' });
    const study = outcome([apart], prompts(apart, 100, honest));
    expect(finding(study, 'C1', 'overall')).toBe('not identifiable');
    expect(verdictOn(study, 'C1', `condition ${apart.name}`, llama.name)).toMatchObject({
      ...{ condition: apart.name, inputs: { coupling: 'independent' } },
    });
  });
});

describe('C2 from units', () => {
  const strategies = [{}, sampled(), { ...sampled(), strategyName: 't0.7' }];
  const conditions = [llama, mistral, gemma].flatMap((model, m) =>
    strategies.map((strategy, s) => condition(3 * m + s, { model, ...strategy })),
  );
  /** In every condition another 3 of 60 prompts are solved by the better arm alone. */
  const study = (better: (at: Condition) => 'cached' | 'uncached' | null, placebo = 0) =>
    outcome(
      conditions,
      conditions.flatMap((at) =>
        prompts(at, 60, (i) => {
          const own = Math.floor(i / 3) === at.index;
          const arm = own ? better(at) : null;
          const right = arm === null ? {} : { [arm]: true, [arm === 'cached' ? 'uncached' : 'cached']: false };
          const base = { cached: true, uncached: true, ...right };
          // So many of the prompts are solved by a placebo where the uncached arm fails.
          const correct = times(19, () => (own && i % 3 < placebo ? true : base.uncached));
          return { answers: answers(base), placebo: { correct, divergedAt: [], drift: [] } };
        }),
      ),
    );

  it('is supported by a direction in 8 of 9 conditions that the placebo does not show', () => {
    const clear = study(({ index }) => (index === 4 ? 'uncached' : 'cached'));
    expect(verdictOn(clear, 'C2', 'direction')).toMatchObject({
      ...{ verdict: 'supported', headline: true },
      inputs: { Σs: 21, promptsThatDiffer: 27, positive: 8, conditions: 9, neededDiscordant: 9, placeboSeeds: 19 },
    });
  });

  it('is open where the placebo goes as far: 3 prompts in each condition', () => {
    const clear = study(() => 'cached', 3);
    expect(finding(clear, 'C2', 'direction')).toBe('not identifiable');
    expect(verdictOn(clear, 'C2', 'direction').inputs).toMatchObject({ Σs: 27, 'placebo.q95': 27 });
  });

  it('is open with 7 of 9, contradicted the other way round', () => {
    expect(
      finding(
        study(({ index }) => (index < 2 ? 'uncached' : 'cached')),
        'C2',
        'direction',
      ),
    ).toBe('not identifiable');
    expect(
      finding(
        study(() => 'uncached'),
        'C2',
        'direction',
      ),
    ).toBe('contradicted');
  });

  it('is contradicted by equal accuracy to a point, open where no prompt differs', () => {
    // 6 of 540 pairs differ, half of them each way: 1.645 √6 / 540 is 0.7 points.
    const equal = study(({ index }) => (index < 2 ? (index % 2 ? 'cached' : 'uncached') : null));
    expect(verdictOn(equal, 'C2', 'direction')).toMatchObject({ verdict: 'contradicted', inputs: { Σs: 0 } });
    // Of the resampled sum, whose standard deviation is √6, 90 % lie within 4, and 95 % within 5.
    const { inputs } = verdictOn(equal, 'C2', 'direction');
    expect(Number(inputs['difference90.upper']) * 540).toBeCloseTo(4, 0);
    expect(Number(inputs['difference90.lower']) * 540).toBeCloseTo(-4, 0);
    expect(
      finding(
        study(() => null),
        'C2',
        'direction',
      ),
    ).toBe('not identifiable');
  });

  it('near a point of accuracy goes by the exact bootstrap, which no seed moves', () => {
    // Σs = −9 over 1,800 pairs; of the resampled sums 5.09 % are −19 or less and 3.68 % −20 or less: −19 is more than a point.
    const differences = [-3, -3, ...times(8, () => -1), ...times(5, () => 1)];
    const near = outcome(
      conditions,
      conditions.flatMap((at) =>
        prompts(at, 200, (i) => {
          const s = Math.abs(differences[i] ?? 0) > at.index ? Math.sign(differences[i]) : 0;
          return { answers: answers({ cached: s >= 0, uncached: s <= 0 }) };
        }),
      ),
    );
    const { verdict, inputs } = verdictOn(near, 'C2', 'direction');
    expect(inputs).toMatchObject({ Σs: -9, promptsThatDiffer: 15, 'difference90.lower': -19 / 1800 });
    expect(verdict).toBe('not identifiable');
  });

  it('prompts without a gold answer are not drawn', () => {
    const half = (gold: number) =>
      outcome(
        conditions,
        conditions.flatMap((at) =>
          prompts(at, 40, (i) => ({
            answers: i < gold ? answers({ cached: true, uncached: i % 11 !== at.index }) : answers({}),
          })),
        ),
      );
    const few = outcome(
      conditions,
      conditions.flatMap((at) =>
        prompts(at, 20, (i) => ({ answers: answers({ cached: true, uncached: i % 11 !== at.index }) })),
      ),
    );
    expect(verdictOn(half(20), 'C2', 'direction').inputs).toEqual(verdictOn(few, 'C2', 'direction').inputs);
  });

  it('says which conditions are untestable', () => {
    const { inputs } = verdictOn(
      study(() => 'cached'),
      'C2',
      'direction',
    );
    expect(String(inputs.untestable).split(', ')).toHaveLength(9);
  });
});
