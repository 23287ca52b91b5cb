/** Figures of a study's outcomes, made of units as studies make theirs and read back from JSON. */
import { describe, expect, test } from 'vitest';
import { kernelPresets } from '../../../src/graph/kernels.ts';
import { policies } from '../../../src/graph/rounding.ts';
import { accuracyData } from '../../../src/report/data/accuracy.ts';
import { flipPredictionData } from '../../../src/report/data/flip-prediction.ts';
import { precisionLadderData } from '../../../src/report/data/precision-ladder.ts';
import { temperatureData } from '../../../src/report/data/temperature.ts';
import { verdictTableData } from '../../../src/report/data/verdict-table.ts';
import { accuracyFigure } from '../../../src/report/figures/accuracy.ts';
import { flipPredictionFigure } from '../../../src/report/figures/flip-prediction.ts';
import { precisionLadderFigure } from '../../../src/report/figures/precision-ladder.ts';
import { temperatureFigure } from '../../../src/report/figures/temperature.ts';
import { verdictTableFigure } from '../../../src/report/figures/verdict-table.ts';
import type { Condition } from '../../../src/study/definition/condition.ts';
import type { UnitSummary } from '../../../src/study/unit/unit-summary.ts';
import {
  answers,
  condition,
  llama,
  nothing,
  outcome,
  promptId,
  sampled,
  times,
  unit,
} from '../../study/unit-fixture.ts';
import { answerRow, conditionRow, hostile, present, runOf } from '../run-fixture.ts';
import { dataOf, expectSafe, paths, rects, texts } from './marks.ts';

const light = { appearance: 'light' } as const;
const manifest = { identity: { factors: { policies: Object.values(policies) } } };

function studyOf(
  conditions: readonly Condition[],
  units: readonly UnitSummary[],
  rows: Parameters<typeof runOf>[0] = {},
) {
  const found = outcome(conditions, units);
  return runOf(
    { conditions: conditions.map(({ name }) => conditionRow(name)), ...rows },
    { outcomes: found, manifest },
  );
}

const precisions = ['fp32', 'fp16', 'bf16'].map((name, i) => condition(i, { policy: policies[name] }));
const roundoff: Record<string, number> = { fp32: 2 ** -24, fp16: 2 ** -11, bf16: 2 ** -8 };

describe('the ladder of precision', () => {
  /** Per step L2 = 3u^p and KL = (3u^p)². */
  const ladder = (power: number) =>
    precisions.flatMap((each) =>
      times(3, (i) => {
        const l2 = 3 * roundoff[each.policy.name] ** power;
        return unit(each, i, { sums: { l2Centred: 10 * l2, kl: 10 * l2 ** 2 } });
      }),
    );
  const drawn = async (units: UnitSummary[], conditions = precisions) => {
    const data = present(await precisionLadderData(studyOf(conditions, units)));
    return { data, figure: precisionLadderFigure(data, light) };
  };
  const circle = (svg: string, name: string, panel: number) => {
    const { x, y } = paths(svg, `data-condition="${name}"`)[panel];
    return { x: x + 4, y };
  };

  test('finds the exponents of drift and KL', async () => {
    const { figure, data } = await drawn(ladder(1));
    expect(data.models[0].points.map(({ u }) => u)).toEqual([2 ** -24, 2 ** -11, 2 ** -8]);
    expect(figure.title).toBe('From fp32 to fp16 drift grows as u^1.0, KL as u^2.0; rounding alone predicts 1 and 2');
    expect((await drawn(ladder(0.5))).figure.title).toMatch(/drift grows as u\^0\.5, KL as u\^1\.0/);
  });

  test('drift that follows u lies on the dashed line, in both panels', async () => {
    const { svg } = (await drawn(ladder(1))).figure;
    const dashed = paths(svg, 'stroke-dasharray');
    expect(dashed).toHaveLength(2);
    for (const panel of [0, 1]) {
      const [x1, y1, x2, y2] = dashed[panel].d.match(/[\d.]+/g)!.map(Number);
      const start = circle(svg, precisions[0].name, panel);
      expect([start.x, start.y]).toEqual([expect.closeTo(x1, 1), expect.closeTo(y1, 1)]);
      for (const each of precisions.slice(1)) {
        const { x, y } = circle(svg, each.name, panel);
        expect(y1 + ((x - x1) / (x2 - x1)) * (y2 - y1)).toBeCloseTo(y, 0);
      }
    }
    expectSafe(svg);
  });

  test('exactly 0 lies in the strip, NaN is a cross', async () => {
    const units = ladder(1).map((each) =>
      each.condition === 2 ? { ...each, sums: { ...each.sums, l2Centred: 0, kl: Number.NaN } } : each,
    );
    const { svg, subtitle } = (await drawn(units)).figure;
    const [strip] = rects(svg, 'url(#kvl-zero)').slice(-2);
    const { y } = circle(svg, precisions[2].name, 0);
    expect(y > strip.y && y < strip.y + strip.height).toBe(true);
    expect(paths(svg, 'stroke="#B3261E"')).toHaveLength(1);
    expect(subtitle).toMatch(/Strip: exactly 0\./);
    expectSafe(svg);
  });

  test('weights alone in fp16 stand open at the u of their activations', async () => {
    const weights = {
      ...{
        name: 'fp16-weights',
        compute: 'float32' as const,
        default: 'f32' as const,
        places: { weights: 'f16' as const },
      },
    };
    const conditions = [...precisions, condition(3, { policy: weights })];
    const units = [...ladder(1), unit(conditions[3], 0, { sums: { l2Centred: 1e-6, kl: 1e-12 } })];
    const own = { identity: { factors: { policies: [...Object.values(policies), weights] } } };
    const run = runOf({}, { outcomes: outcome(conditions, units), manifest: own });
    const data = present(await precisionLadderData(run));
    expect(data.models[0].points.at(-1)).toMatchObject({ u: 2 ** -24, weightsOnly: true });
    expect(precisionLadderFigure(data).subtitle).toMatch(/Open: fp16-weights/);
  });

  test('takes two precisions, and a study', async () => {
    expect(await precisionLadderData(studyOf([precisions[0]], [unit(precisions[0], 0)]))).toMatchObject({
      missing: 'Only one precision: a ladder takes two.',
    });
    expect(await precisionLadderData(runOf({}))).toMatchObject({ missing: 'No outcomes.json.' });
  });
});

describe('predicted flips', () => {
  const greedy = condition(0);
  const gumbel = condition(1, sampled());
  const unkeyed = condition(2, { ...sampled(), strategyName: 'unkeyed', coupling: 'independent' });
  const flip = { step: 1, margin: 0.5, tie: false, boundary: false };
  /** Shifts of 1 everywhere, so σ = 1; margins of 1. */
  const units = [
    ...times(4, (i) => unit(greedy, i, { shifts: times(10, () => 1), flips: i === 0 ? [flip] : [] })),
    ...times(4, (i) =>
      unit(gumbel, i, { sums: { tvProcessed: 0.5, tvProcessedUpper: 1 }, flips: i < 3 ? [flip] : [] }),
    ),
    ...times(4, (i) => unit(unkeyed, i, { sums: { tvProcessed: 0.5, tvProcessedUpper: 1 } })),
  ];
  const drawn = async () => {
    const data = present(await flipPredictionData(studyOf([greedy, gumbel, unkeyed], units)));
    return { data, figure: flipPredictionFigure(data, light) };
  };

  test('of a greedy condition are the sum of Φ(−margin/σ)', async () => {
    const { data, figure } = await drawn();
    // Φ(−1) = 0.158655 at each of 40 steps.
    expect(data.conditions[0]).toMatchObject({ observed: 1, bounds: null });
    expect(data.conditions[0].predicted).toBeCloseTo(40 * 0.15865525393145707, 9);
    expect(data.calibration?.bins).toHaveLength(1);
    expect(data.calibration?.bins[0].predicted).toBeCloseTo(0.15865525393145707, 12);
    expect(figure.title).toMatch(/^fp16 · ort · greedy: 1 flip where margins and drift predict 6\.3, ×0\.16 /);
    expectSafe(figure.svg);
  });

  test('of a sampled condition are bounds, in flips', async () => {
    const { data, figure } = await drawn();
    // Mean TV 0.05 and mean 2 TV/(1 + TV) 0.1 over 40 steps.
    expect(data.conditions[1].bounds).toMatchObject({
      lower: expect.closeTo(2, 9),
      upper: expect.closeTo(4, 9),
      within: true,
    });
    expect(data.conditions[1].observed).toBe(3);
    expect(figure.title).toMatch(/; 1 of 1 sampled condition within their bounds$/);
  });

  test('random numbers of each arm its own promise no bound', async () => {
    const { data, figure } = await drawn();
    expect(data.conditions).toHaveLength(2);
    expect(data.withoutBound).toBe(1);
    expect(figure.subtitle).toMatch(/1 condition without a prediction/);
  });

  test('a condition on the diagonal is where the prediction holds; none observed lies in the strip', async () => {
    const data = (await drawn()).data;
    const one = { ...data.conditions[0], condition: 'on', observed: 5, predicted: 5 };
    const none = { ...one, condition: 'none', observed: 0, predicted: 5 };
    const { svg } = flipPredictionFigure({ ...data, conditions: [one, none], calibration: null }, light);
    const [line] = paths(svg, 'stroke="#4E5660" stroke-width="1.2"');
    const [x1, y1, x2, y2] = line.d.match(/[\d.]+/g)!.map(Number);
    const at = (name: string) => paths(svg, `data-condition="${name}"`)[0];
    expect(y1 + ((at('on').x + 4 - x1) / (x2 - x1)) * (y2 - y1)).toBeCloseTo(at('on').y, 1);
    const strip = rects(svg, 'url(#kvl-zero)').find(({ width }) => width > 100);
    expect(at('none').y).toBeGreaterThan(strip?.y ?? Infinity);
    expectSafe(svg);
  });
});

describe('accuracy', () => {
  const greedy = condition(0);
  const hot = condition(1, sampled());
  const other = condition(2, { kernels: { ...kernelPresets.ort, name: 'other' } });
  const judged = (cached: boolean, uncached: boolean) => ({ answers: answers({ cached, uncached }) });
  const units = [
    ...times(4, (i) => unit(greedy, i, judged(true, i !== 0))),
    ...times(4, (i) => unit(hot, i, judged(i > 1, true))),
    ...times(4, (i) => unit(other, i, judged(true, true))),
  ];
  const seeds = [1, 2, 3];
  /** Order 1 solves what the uncached arm does not, order 2 what it does, order 3 nothing of it. */
  const rows = {
    answers: times(4, (i) => answerRow(greedy.name, promptId(i), 'uncached', [7], { correct: i !== 0 })),
    placebo: seeds.flatMap((seed) =>
      times(4, (i) => ({
        ...{ condition: greedy.name, prompt: promptId(i), seed, diverged_at: null },
        correct: seed === 1 ? true : seed === 2 ? i !== 0 : false,
      })),
    ),
  };

  test('is cached minus uncached, for the conditions of a setting', async () => {
    const data = present(await accuracyData(studyOf([greedy, hot, other], units)));
    expect(data.conditions.map(({ name, difference }) => [name, difference.value])).toEqual([
      ['tiny-llama greedy', 0.25],
      ['tiny-llama t1.0', -0.5],
    ]);
    const { title, svg } = accuracyFigure(data, light);
    expect(title).toBe(
      'fp16 · ort: the cached arm is right more often in 1 of 2 conditions, less often in 1; none passes its test',
    );
    expect(texts(svg)).toContain('0 : 2');
    expectSafe(svg);
  });

  test('has the orders of the placebo behind it, each against the uncached arm', async () => {
    const data = present(await accuracyData(studyOf([greedy, hot, other], units, rows)));
    expect(data.conditions[0].placebo).toEqual([0.25, 0, -0.75]);
    expect(data.conditions[1].placebo).toEqual([]);
    const { svg, subtitle } = accuracyFigure(data, light);
    expect(paths(svg, 'data-orders="1"')).toHaveLength(3);
    expect(subtitle).toMatch(/in 3 other orders of its sums/);
    // The point of the condition stands over the order that gives the same difference.
    const [point] = paths(svg, `data-condition="${greedy.name}"`);
    expect(paths(svg, 'data-orders').map(({ x }) => x)).toContainEqual(expect.closeTo(point.x + 4.2, 1));
  });

  test('equal arms are said to be, of another setting on request', async () => {
    const data = present(await accuracyData(studyOf([greedy, hot, other], units), { condition: other.name }));
    expect(accuracyFigure(data).title).toBe('fp16 · other: the arms are right equally often in all of 1 condition');
  });

  test('without gold answers says so', async () => {
    expect(await accuracyData(studyOf([greedy], [unit(greedy, 0)]))).toMatchObject({
      missing: expect.stringMatching(/^No judged answers/),
    });
  });
});

describe('verdicts', () => {
  const greedy = condition(0);
  const split = condition(1, { kernels: { ...kernelPresets.ort, name: 'split' } });
  const fp32 = condition(2, { policy: policies.fp32 });
  const study = studyOf(
    [greedy, split, fp32],
    [greedy, split, fp32].flatMap((each) => times(2, (i) => unit(each, i))),
  );

  test('are a row for each part and a column for each setting of half precision', async () => {
    const data = present(await verdictTableData(study));
    expect(data.settings).toEqual(['fp16 · ort', 'fp16 · split']);
    expect(new Set(data.rows.map(({ claim }) => claim))).toEqual(new Set(['C1', 'C2', 'C3', 'C4', 'C5']));
    for (const { claim } of data.rows) expect(data.rows.find((row) => row.claim === claim)?.headline).toBe(true);
    const { svg, title } = verdictTableFigure(data, light);
    const all = data.rows.flatMap(({ verdicts }) => verdicts);
    const words = texts(svg).filter((found) => /^[✓✗○] (supported|contradicted|not identifiable)$/.test(found));
    expect(words).toHaveLength(all.length);
    expect(words.filter((found) => found === '✗ contradicted')).toHaveLength(
      all.filter((verdict) => verdict === 'contradicted').length,
    );
    const answering = data.rows.filter(({ headline }) => headline).flatMap(({ verdicts }) => verdicts);
    const count = (finding: string) => answering.filter((verdict) => verdict === finding).length;
    expect(title).toBe(
      `5 claims in 2 settings: ${count('supported')} supported, ${count('contradicted')} contradicted, ${count('not identifiable')} not identifiable`,
    );
    const cells = dataOf(svg, 'rect', 'data-verdict');
    expect(cells.map((cell) => cell['data-verdict'])).toEqual(all);
    expect(cells.map((cell) => cell['data-setting'])).toEqual(data.rows.flatMap(() => data.settings));
    expectSafe(svg);
  });

  test('a part that is a letter says what it asks', async () => {
    const found = texts(verdictTableFigure(present(await verdictTableData(study)), light).svg).map((each) =>
      each.trim(),
    );
    expect(found).toEqual(
      expect.arrayContaining([
        ...['a · flips', 'b · orders of magnitude', 'c · order is necessary', 'd · narrow storage is necessary'],
        ...['a · the residual patch fails', 'b · the cache is the carrier'],
      ]),
    );
    expect(found.filter((each) => /^[a-z]$/.test(each))).toEqual([]);
  });

  test('many settings leave the glyphs and a key', async () => {
    const data = present(await verdictTableData(study));
    const many = {
      ...data,
      settings: times(9, (i) => `fp16 · k${i}`),
      rows: data.rows.map((row) => ({ ...row, verdicts: times(9, () => 'supported' as const) })),
    };
    const found = texts(verdictTableFigure(many, light).svg);
    expect(found.filter((each) => each === '✓')).toHaveLength(9 * data.rows.length);
    expect(found).toContain('○ not identifiable');
  });

  test('are the same of outcomes that name neither padding nor coupling', async () => {
    const old = outcome([greedy], [unit(greedy, 0)]);
    const table = old.table.map(({ padding: _, coupling: __, ...cell }) => cell);
    const data = present(await verdictTableData(runOf({}, { outcomes: { ...old, table } })));
    expect(data).toEqual(present(await verdictTableData(runOf({}, { outcomes: old }))));
  });
});

describe('total variation by temperature', () => {
  const greedy = condition(0);
  const cold = [0.5, 1, 1.5];
  const swept = (tv: readonly number[]) =>
    times(2, (i) =>
      unit(greedy, i, {
        temperatures: cold.map((temperature, at) => ({ temperature, tv: 10 * tv[at], upper: 20 * tv[at] })),
      }),
    );
  const drawn = async (tv: readonly number[]) => {
    const data = present(await temperatureData(studyOf([greedy], swept(tv))));
    return { data, figure: temperatureFigure(data, light) };
  };

  test('stands at its temperature and the logarithm of its mean', async () => {
    const { data, figure } = await drawn([1e-4, 1e-3, 1e-2]);
    expect(data.curves[0].at.map(({ tv }) => tv?.value)).toEqual(
      [1e-4, 1e-3, 1e-2].map((tv) => expect.closeTo(tv, 12)),
    );
    const at = cold.map((temperature) => paths(figure.svg, `data-temperature="${temperature}"`)[0]);
    expect(at[1].x).toBeCloseTo((at[0].x + at[2].x) / 2, 1);
    expect(at[1].y).toBeCloseTo((at[0].y + at[2].y) / 2, 1);
    expect(figure.title).toBe(
      'Total variation of the arms is least, 1.0e-4 at temperature 0.5, and largest, 0.010 at temperature 1.5',
    );
    expectSafe(figure.svg);
  });

  test('exactly 0 lies in its strip and joins no line', async () => {
    const { figure } = await drawn([0, 1e-3, 1e-2]);
    const [strip] = rects(figure.svg, 'url(#kvl-zero)').slice(-1);
    const [{ y }] = paths(figure.svg, 'data-temperature="0.5"');
    expect(y > strip.y && y < strip.y + strip.height).toBe(true);
    expect(paths(figure.svg, 'stroke-width="1.6"')).toHaveLength(1);
    expect((await drawn([0, 0, 0])).figure.title).toBe('The distributions of the arms are equal at every temperature');
  });

  test('what is not a number is a cross', async () => {
    const { figure, data } = await drawn([Number.NaN, 1e-3, 1e-2]);
    expect(data.curves[0].at[0].tv).toBeNull();
    expect(paths(figure.svg, 'stroke="#B3261E"')).toHaveLength(1);
    expectSafe(figure.svg);
  });

  test('a study without a sweep says so', async () => {
    expect(await temperatureData(studyOf([greedy], [unit(greedy, 0)]))).toMatchObject({
      missing: 'No temperatures in outcomes.json: the study asked for none.',
    });
  });
});

test('outcomes of another version are refused by the place that does not fit', async () => {
  const run = runOf({}, { outcomes: { conditions: [{ index: 0 }], table: [], machine: '' } });
  await expect(verdictTableData(run)).rejects.toThrow(/^outcomes\.json: conditions\.0\.condition: /);
});

test('hostile names of a study stay text', async () => {
  const named = (index: number, policy: string, changes: Partial<Condition> = {}) =>
    condition(index, {
      ...{
        policy: policies[policy],
        model: { ...llama, name: hostile },
        kernels: { ...kernelPresets.ort, name: hostile },
      },
      ...changes,
    });
  const conditions = [named(0, 'fp16', { name: hostile }), named(1, 'fp32', { name: `${hostile}2` })];
  const sums = { ...nothing, l2Centred: 1, kl: 1 };
  const units = conditions.flatMap((each) =>
    times(2, (i) =>
      unit(each, i, {
        sums,
        shifts: times(10, () => 1),
        answers: answers({ cached: true, uncached: i === 0 }),
        temperatures: [{ temperature: 1, tv: 1, upper: 2 }],
      }),
    ),
  );
  const run = studyOf(conditions, units);
  expectSafe(precisionLadderFigure(present(await precisionLadderData(run))).svg);
  expectSafe(flipPredictionFigure(present(await flipPredictionData(run))).svg);
  expectSafe(accuracyFigure(present(await accuracyData(run))).svg);
  expectSafe(verdictTableFigure(present(await verdictTableData(run))).svg);
  expectSafe(temperatureFigure(present(await temperatureData(run))).svg);
});
