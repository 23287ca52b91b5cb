/** Margin against drift: every step has its place, zeros and what is not a number have theirs. */
import { describe, expect, test } from 'vitest';
import { marginDriftData } from '../../../src/report/data/margin-drift.ts';
import { isMissing } from '../../../src/report/data/missing.ts';
import { marginDriftFigure } from '../../../src/report/figures/margin-drift.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { conditionRow, hostile, present, runOf, stepRow } from '../run-fixture.ts';
import { dots, expectSafe, paths, rects, texts } from './marks.ts';

const step = (at: number, margin: number | null, drift: number, more: Partial<Row<'steps'>> = {}) =>
  stepRow('c', 'p', at, { margin_choice: margin, logits_max_abs: drift, ...more });

const light = { appearance: 'light' } as const;

async function drawn(steps: Row<'steps'>[]) {
  const data = present(await marginDriftData(runOf({ conditions: [conditionRow('c')], steps })));
  return { data, figure: marginDriftFigure(data, light) };
}

describe('margin against drift', () => {
  test('places steps by the logarithms of margin and drift', async () => {
    const { figure } = await drawn([step(1, 0.1, 0.01), step(2, 1, 0.1), step(3, 10, 1)]);
    const at = [1, 2, 3].map((n) => dots(figure.svg, `data-step="${n}"`)[0]);
    expect(at[1].x).toBeCloseTo((at[0].x + at[2].x) / 2, 1);
    expect(at[1].y).toBeCloseTo((at[0].y + at[2].y) / 2, 1);
    expect(at[2].x).toBeGreaterThan(at[0].x);
    expect(at[2].y).toBeLessThan(at[0].y);
  });

  test('draws the line where the margin is twice the drift', async () => {
    const { figure, data } = await drawn([step(1, 0.02, 0.01), step(2, 20, 10), step(3, 5, 1)]);
    const [line] = paths(figure.svg, 'stroke="#1A1E23" stroke-width="1.4"');
    const [x1, y1, x2, y2] = line.d.match(/[\d.]+/g)!.map(Number);
    for (const n of [1, 2]) {
      const { x, y } = dots(figure.svg, `data-step="${n}"`)[0];
      expect(y1 + ((x - x1) / (x2 - x1)) * (y2 - y1)).toBeCloseTo(y, 0);
    }
    expect(data.reachable).toBe(2);
  });

  test('puts exact ties and steps without a difference into strips of their own', async () => {
    const { figure, data } = await drawn([step(1, 0, 0.5), step(2, 3, 0), step(3, 0, 0), step(4, 1, 0.1)]);
    const [ties, corner, zeros] = rects(figure.svg, 'url(#kvl-zero)').slice(-3);
    const inside = (n: number, strip: typeof ties) => {
      const { x, y } = dots(figure.svg, `data-step="${n}"`)[0];
      return x > strip.x && x < strip.x + strip.width && y > strip.y && y < strip.y + strip.height;
    };
    expect([inside(1, ties), inside(2, zeros), inside(3, corner)]).toEqual([true, true, true]);
    expect([inside(4, ties), inside(4, zeros), inside(4, corner)]).toEqual([false, false, false]);
    expect(data).toMatchObject({ ties: 2, equal: 2, steps: 4 });
    // Nothing widens an axis: its smallest values are those that are not 0.
    expect(data.marginExtent).toEqual([1, 3]);
  });

  test('says how many tokens flip, at which margins, and how many at exact ties', async () => {
    const flip = { flip: true };
    const { figure } = await drawn([
      step(1, 0.016, 0.1, flip),
      step(2, 0, 0.1, { ...flip, tie_uncached: true }),
      step(3, 9, 0.1),
    ]);
    expect(figure.title).toBe('2 of 3 steps pick another token, at margins of at most 0.016; 1 at an exact tie');
    expect(paths(figure.svg, 'stroke-width="1" data-prompt')).toHaveLength(2);
    expect(texts(figure.svg)).toContain('2 flips, margin ≤ 0.016');
  });

  test('says where nothing flips and whether it could', async () => {
    expect((await drawn([step(1, 1, 0.1), step(2, 0.1, 0.1)])).figure.title).toBe(
      'No token flips; in 1 of 2 steps drift could reach the margin',
    );
    expect((await drawn([step(1, 1, 0.1)])).figure.title).toMatch(/^No token flips: in none of 1 step /);
    expect((await drawn([step(1, 1, 0), step(2, 0, 0)])).figure.title).toBe('No logit differs in 2 steps');
  });

  test('names flips beyond the line as those of the cut of top-k or top-p', async () => {
    const { data, figure } = await drawn([step(1, 5, 0.1, { flip: true, boundary: true }), step(2, 1, 0.1)]);
    expect(data.flips.beyond).toBe(1);
    expect(figure.subtitle).toMatch(/Of the flips 1 lie right of the line: cut of top-k/);
  });

  test('draws nothing that is not a number and says how many there were', async () => {
    const { data, figure } = await drawn([
      step(1, 1, Number.NaN),
      step(2, Infinity, 0.1),
      step(3, null, 0.1),
      step(4, 1, 0.1),
    ]);
    expect(data).toMatchObject({ steps: 1, notFinite: 2, withoutMargin: 1 });
    expect(figure.subtitle).toMatch(/× 2 with NaN or Inf/);
    expect(figure.subtitle).toMatch(/1 without a margin/);
    expectSafe(figure.svg);
  });

  test('counts teacher-forced steps after step 0 of the condition alone', async () => {
    const steps = [
      step(0, 1, 9),
      step(1, 1, 0.1),
      step(2, 1, 9, { protocol: 'free-running' }),
      { ...step(3, 1, 9), condition: 'other' },
    ];
    const run = runOf({ conditions: [conditionRow('c'), conditionRow('other')], steps });
    const data = present(await marginDriftData(run, { condition: 'c' }));
    expect(data).toMatchObject({ steps: 1, driftExtent: [0.1, 0.1] });
  });

  test('beyond some thousands steps become pixels, and every step is in one', async () => {
    const steps = Array.from({ length: 2001 }, (_, i) => step(i + 1, 1 + i, i % 3 === 0 ? 0 : 0.1));
    const { data, figure } = await drawn([...steps, step(2002, 0.5, 2, { flip: true })]);
    expect(data.kept.dots).toBeNull();
    expect(data.kept.bins.reduce((sum, bin) => sum + bin.steps, 0)).toBe(2001);
    expect(figure.svg.match(/<image /g)).toHaveLength(2);
    // A flip stays a mark of its own.
    expect(paths(figure.svg, 'data-step="2002"')).toHaveLength(1);
    expect(figure.svg.length).toBeLessThan(40_000);
    expectSafe(figure.svg);
  });

  test('one step is enough, and hostile names stay text', async () => {
    const run = runOf({
      conditions: [conditionRow(hostile, { model: hostile })],
      steps: [stepRow(hostile, hostile, 1, { margin_choice: 1, logits_max_abs: 1e-7 })],
    });
    expectSafe(marginDriftFigure(present(await marginDriftData(run))).svg);
  });

  test('says what is missing and the command that makes it', async () => {
    const conditions = [conditionRow('c')];
    const missing = await Promise.all([
      marginDriftData(runOf({})),
      marginDriftData(runOf({ conditions })),
      marginDriftData(runOf({ conditions, steps: [] })),
      marginDriftData(runOf({ conditions, steps: [step(1, 1, 1)] }), { condition: 'none' }),
    ]);
    expect(missing.map(isMissing)).toEqual([true, true, true, true]);
    expect(missing[1]).toEqual({ missing: 'No steps.arrow.', command: 'kvlens diverge MODEL --out FOLDER' });
  });
});
