/** Each arm against float64: the ratio of sums, and a diagonal on which both err alike. */
import { describe, expect, test } from 'vitest';
import { oracleData } from '../../../src/report/data/oracle.ts';
import { oracleFigure } from '../../../src/report/figures/oracle.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { conditionRow, hostile, present, runOf, stepRow } from '../run-fixture.ts';
import { dots, expectSafe, paths, rects } from './marks.ts';

const light = { appearance: 'light' } as const;
const conditions = [conditionRow('c')];

const error = (prompt: string, step: number, cached: number | null, uncached: number | null) =>
  stepRow('c', prompt, step, { error_cached: cached, error_uncached: uncached });

async function drawn(steps: Row<'steps'>[]) {
  const data = present(await oracleData(runOf({ conditions, steps })));
  return { data, figure: oracleFigure(data, light) };
}

describe('against float64', () => {
  test('a dot is a prompt, its error the mean over its steps; the ratio is one of sums', async () => {
    const { data } = await drawn([
      error('a', 1, 2, 1),
      error('a', 2, 4, 1),
      error('b', 1, 1, 2),
      error('a', 0, 99, 99),
    ]);
    expect(data.panels[0].prompts).toEqual([
      { prompt: 'a', steps: 2, cached: 3, uncached: 1 },
      { prompt: 'b', steps: 1, cached: 1, uncached: 2 },
    ]);
    expect(data.panels[0].ratio?.value).toBeCloseTo(7 / 4, 12);
  });

  test('equal errors lie on the diagonal, a larger cached one above it', async () => {
    const { figure } = await drawn([error('a', 1, 0.3, 0.3), error('b', 1, 1, 0.2), error('d', 1, 0.2, 1)]);
    const [line] = paths(figure.svg, 'stroke="#4E5660" stroke-width="1.2"');
    const [x1, y1, x2, y2] = line.d.match(/[\d.]+/g)!.map(Number);
    const above = (prompt: string) => {
      const { x, y } = dots(figure.svg, `data-prompt="${prompt}"`)[0];
      return y1 + ((x - x1) / (x2 - x1)) * (y2 - y1) - y;
    };
    expect(above('a')).toBeCloseTo(0, 1);
    expect(above('b')).toBeGreaterThan(5);
    expect(above('d')).toBeLessThan(-5);
  });

  test('the title says which arm is nearer, and neither where the interval holds 1', async () => {
    const title = async (ratio: (i: number) => number) =>
      (await drawn(Array.from({ length: 20 }, (_, i) => error(`p${i}`, 1, ratio(i), 1)))).figure.title;
    expect(await title(() => 1.5)).toBe(
      'The uncached arm is nearer to float64: cached / uncached error ×1.50 [1.50–1.50]',
    );
    expect(await title(() => 0.5)).toMatch(/^The cached arm is nearer to float64: .* ×0\.50 /);
    expect(await title((i) => (i % 2 === 0 ? 0.8 : 1.2))).toMatch(/^Neither arm is nearer to float64: .* ×1\.00 /);
  });

  test('an error of 0 has its strip, NaN no place and no ratio', async () => {
    const zero = await drawn([error('a', 1, 0, 0.3), error('b', 1, 0.2, 0.2)]);
    expect(rects(zero.figure.svg, 'url(#kvl-zero)')).toHaveLength(3);
    expectSafe(zero.figure.svg);
    const { data, figure } = await drawn([error('a', 1, Number.NaN, 0.3), error('b', 1, 0.2, 0.2)]);
    expect(data.panels[0]).toMatchObject({ ratio: null, notFinite: 1 });
    expect(data.panels[0].prompts).toHaveLength(1);
    expect(figure.subtitle).toMatch(/× 1 prompt with NaN or Inf not drawn/);
    expectSafe(figure.svg);
  });

  test('without an oracle says so', async () => {
    const run = runOf({ conditions, steps: [error('a', 1, null, null)] });
    expect(await oracleData(run)).toMatchObject({ missing: 'No error to the float64 oracle of c.' });
  });

  test('hostile names stay text', async () => {
    const steps = [{ ...error(hostile, 1, 1, 1), condition: hostile }];
    const run = runOf({ conditions: [conditionRow(hostile, { kernels: hostile })], steps });
    expectSafe(oracleFigure(present(await oracleData(run))).svg);
  });
});
