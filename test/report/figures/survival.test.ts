/** Survival: the Aalen–Johansen estimate, whichever table it comes from. */
import { describe, expect, test } from 'vitest';
import { survivalData } from '../../../src/report/data/survival.ts';
import { survivalFigure } from '../../../src/report/figures/survival.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { answerRow, conditionRow, hostile, present, runOf, stepRow } from '../run-fixture.ts';
import { dataOf, expectSafe, paths, texts } from './marks.ts';

const light = { appearance: 'light' } as const;
const end = 2;

/** Tokens of a text: 9s, and at its end the end token where it has one. */
const text = (length: number, ended: boolean) =>
  Array.from({ length }, (_, i) => (ended && i === length - 1 ? end : 9));

interface Text {
  prompt: string;
  length: number;
  ended?: boolean;
  parts?: number;
}

/** Five texts: one parts at 2, one ends equal at 3, one parts at 4, two reach the limit at 6. */
const five: Text[] = [
  { prompt: 'a', length: 7, parts: 2 },
  { prompt: 'b', length: 4, ended: true },
  { prompt: 'c', length: 7, parts: 4 },
  { prompt: 'd', length: 7 },
  { prompt: 'e', length: 7 },
];

function answers(condition: string, found: readonly Text[]): Row<'answers'>[] {
  return found.flatMap(({ prompt, length, ended = false, parts }) => {
    const uncached = text(length, ended);
    const cached = uncached.map((token, i) => (parts !== undefined && i >= parts ? 8 : token));
    const stop = ended ? 'end' : 'limit';
    return [
      answerRow(condition, prompt, 'cached', cached, { stop }),
      answerRow(condition, prompt, 'uncached', uncached, { stop }),
      answerRow(condition, prompt, 'order-matched', [1], { stop }),
    ];
  });
}

function steps(condition: string, found: readonly Text[]): Row<'steps'>[] {
  return found.flatMap(({ prompt, length, ended = false, parts }) =>
    text(length, ended).map((token, i) =>
      stepRow(condition, prompt, i, {
        token_uncached: token,
        token_cached: i === parts ? 8 : token,
        flip: i === parts,
      }),
    ),
  );
}

const conditions = [conditionRow('c')];
const manifest = { identity: { config: { eosTokenIds: [end] }, ignoreEos: false } };

/** By hand: S after 2 is 4/5; of the four that wait one ends at 3, S = 3/5; F(4) = 1/5 + 3/5 · 1/3. */
const byHand = [
  { step: 2, identical: 4 / 5 },
  { step: 3, identical: 4 / 5 },
  { step: 4, identical: 3 / 5 },
];

describe('share of texts still identical', () => {
  test('is one minus the cumulative incidence, the end of a text competing', async () => {
    const data = present(await survivalData(runOf({ conditions, answers: answers('c', five) })));
    const [curve] = data.curves;
    expect(curve.steps.map(({ step }) => step)).toEqual([2, 3, 4]);
    for (const [i, { identical }] of curve.steps.entries()) expect(identical).toBeCloseTo(byHand[i].identical, 12);
    expect(curve).toMatchObject({ texts: 5, diverged: 2, equalToEnd: 1, equalAtLimit: 2, last: 6 });
  });

  test('is the same of teacher-forced steps as of the texts themselves', async () => {
    const ofAnswers = present(await survivalData(runOf({ conditions, answers: answers('c', five) })));
    const ofSteps = present(await survivalData(runOf({ conditions, steps: steps('c', five) }, { manifest })));
    expect(ofSteps).toEqual(ofAnswers);
  });

  test('of several flips the first is where a text parts', async () => {
    const later = stepRow('c', 'a', 5, { token_uncached: 9, token_cached: 8, flip: true });
    const rows = steps('c', five).map((row) => (row.prompt === 'a' && row.step === 5 ? later : row));
    const data = present(await survivalData(runOf({ conditions, steps: rows }, { manifest })));
    expect(data.curves[0].steps.map(({ step }) => step)).toEqual([2, 3, 4]);
  });

  test('an end token that is ignored ends nothing', async () => {
    const ignored = { identity: { ...manifest.identity, ignoreEos: true } };
    const data = present(await survivalData(runOf({ conditions, steps: steps('c', five) }, { manifest: ignored })));
    expect(data.curves[0]).toMatchObject({ equalToEnd: 0, equalAtLimit: 3 });
  });

  test('one arm that stops alone parts at its last step', async () => {
    const rows = [answerRow('c', 'a', 'cached', [9, 9]), answerRow('c', 'a', 'uncached', [9, 9, 9])];
    const data = present(await survivalData(runOf({ conditions, answers: rows })));
    expect(data.curves[0]).toMatchObject({ diverged: 1, last: 1 });
  });

  test('draws a step down at each divergence, to the height of the share', async () => {
    const data = present(await survivalData(runOf({ conditions, answers: answers('c', five) })));
    const { svg, title } = survivalFigure(data, light);
    expect(title).toMatch(/^2\/5 texts part, 40 % \[12–77 %\]$/);
    const [{ d }] = paths(svg, 'data-condition="c"');
    const [, start] = d.match(/^M[\d.]+ ([\d.]+)/)!.map(Number);
    const heights = [...d.matchAll(/V([\d.]+)/g)].map(([, y]) => Number(y));
    const ticks = [...svg.matchAll(/<path d="M[\d.]+ ([\d.]+)h[\d.]+" stroke="#ECEEEA"/g)].map(([, y]) => Number(y));
    const [bottom, top] = [Math.max(...ticks), Math.min(...ticks)];
    // Of an axis from 0 to 100 %.
    expect(start).toBeCloseTo(top, 1);
    for (const [i, { identical }] of byHand.entries())
      expect(heights[i]).toBeCloseTo(bottom + identical * (top - bottom), 1);
    expect(texts(svg)).toContain('fp16 · ort  2/5');
    expectSafe(svg);
  });

  test('each step of the curve says when it is and what share is left', async () => {
    const data = present(await survivalData(runOf({ conditions, answers: answers('c', five) })));
    const found = dataOf(survivalFigure(data, light).svg, 'rect', 'data-identical');
    expect(found.map((mark) => Number(mark['data-step']))).toEqual(byHand.map(({ step }) => step));
    for (const [i, { identical }] of byHand.entries())
      expect(Number(found[i]['data-identical'])).toBeCloseTo(identical, 12);
    expect(found[0]).toMatchObject({ 'data-condition': 'c', 'data-texts': '5' });
  });

  test('has a band of shares, and before the first divergence the bound 1 − 0.05^(1/n)', async () => {
    const { band } = present(await survivalData(runOf({ conditions, answers: answers('c', five) })));
    expect(band[0]).toMatchObject({ step: 0, upper: 1 });
    expect(band[0].lower).toBeCloseTo(0.05 ** (1 / 5), 12);
    for (const { lower, upper } of band) expect(lower >= 0 && lower <= upper && upper <= 1).toBe(true);
  });

  test('never says 0 % of texts that do not part', async () => {
    const equal = Array.from({ length: 40 }, (_, i) => ({ prompt: `p${i}`, length: 3, ended: true }));
    const figure = survivalFigure(present(await survivalData(runOf({ conditions, answers: answers('c', equal) }))));
    expect(figure.title).toBe('No text parts: 0/40 [0–9 %]');
    expect(figure.subtitle).toMatch(/The axis begins at 90 %/);
  });

  test('labels lines at their ends, and those that part nowhere together', async () => {
    const names = ['c', 'd', 'e', 'f'];
    const many = names.map((name, i) => conditionRow(name, { kernels: `k${i}` }));
    const rows = names.flatMap((name) => answers(name, name === 'c' ? five : five.slice(3)));
    const data = present(await survivalData(runOf({ conditions: many, answers: rows }), { condition: 'e' }));
    expect(data.curves.map(({ condition }) => condition)).toEqual(['e', 'c', 'd', 'f']);
    const { svg, title } = survivalFigure(data, light);
    expect(texts(svg)).toContain('3 conditions  0/2');
    expect(texts(svg)).toContain('fp16 · k0  2/5');
    expect(title).toBe('From 0/2 (fp16 · k2) to 2/5 (fp16 · k0) texts part');
  });

  test('one text of one step, and hostile names, are drawn', async () => {
    const run = runOf({
      conditions: [conditionRow(hostile, { model: hostile, kernels: hostile })],
      answers: answers(hostile, [{ prompt: hostile, length: 1 }]),
    });
    const data = present(await survivalData(run));
    expect(data.band).toEqual([]);
    expectSafe(survivalFigure(data).svg);
  });

  test('says what is missing', async () => {
    expect(await survivalData(runOf({ conditions }))).toMatchObject({ missing: 'No steps.arrow.' });
    expect(await survivalData(runOf({ conditions, answers: [] }))).toMatchObject({ missing: 'No text of c.' });
  });
});
