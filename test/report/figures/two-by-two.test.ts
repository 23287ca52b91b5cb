/** The 2×2: means and intervals by prompt, the neither-cell exactly 0 or not valid. */
import { describe, expect, test } from 'vitest';
import { twoByTwoData } from '../../../src/report/data/two-by-two.ts';
import { twoByTwoFigure } from '../../../src/report/figures/two-by-two.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { conditionRow, hostile, patchRow, present, runOf } from '../run-fixture.ts';
import { dataOf, expectSafe, rects, texts } from './marks.ts';

const light = { appearance: 'light' } as const;
const conditions = [conditionRow('c')];

/** Distances of the three cells that may differ, by prompt; the base is that of cached history and decode kernel. */
function cells(condition: string, prompt: string, base: number, kernel: number, history: number, neither = 0) {
  return [
    patchRow(condition, prompt, 'cached', 'decode', { base, patched: base }),
    patchRow(condition, prompt, 'cached', 'prefill', { base, patched: kernel }),
    patchRow(condition, prompt, 'recomputed', 'decode', { base, patched: history }),
    patchRow(condition, prompt, 'recomputed', 'prefill', { base, patched: neither }, { by_construction: true }),
  ];
}

const two = [...cells('c', 'a', 4, 3, 1), ...cells('c', 'b', 2, 3, 1)];

async function drawn(patches: Row<'patches'>[], more = conditions) {
  const data = present(await twoByTwoData(runOf({ conditions: more, patches })));
  return { data, figure: twoByTwoFigure(data, light) };
}

describe('the 2×2', () => {
  test('draws mean distances as bars from 0', async () => {
    const { data, figure } = await drawn(two);
    expect(data.panels[0].cells.map(({ distance }) => distance?.value)).toEqual([3, 3, 1, 0]);
    const [base, kernel, history, ...rest] = rects(figure.svg, 'fill="#BF4A06"').map(({ width }) => width);
    expect(rest).toEqual([]);
    expect(kernel).toBeCloseTo(base, 6);
    expect(history / base).toBeCloseTo(1 / 3, 2);
    expect(texts(figure.svg)).toContain('✓ exactly 0 in 2 / 2');
    expectSafe(figure.svg);
  });

  test('a recovery is a ratio of sums over prompts, never a mean of ratios', async () => {
    const { data, figure } = await drawn(two);
    const [, kernel, history] = data.panels[0].cells.map(({ recovery }) => recovery?.value);
    expect(history).toBeCloseTo(1 - 2 / 6, 12);
    expect(kernel).toBeCloseTo(1 - 6 / 6, 12);
    // Of two prompts the interval is that of the two: 1 − 1/4 and 1 − 1/2.
    expect(figure.title).toBe(
      'Recomputed history removes 0.67 [0.50–0.75] of the difference, the prefill kernel 0 [−0.50–0.25]',
    );
  });

  test('a distance is a mean over patched steps, whatever prompt they are of', async () => {
    const second = cells('c', 'a', 8, 3, 1).map((row) => ({ ...row, step: 16 }));
    const { data } = await drawn([...two, ...second]);
    expect(data.panels[0].cells[0].distance?.value).toBeCloseTo((4 + 2 + 8) / 3, 12);
    expect(data.panels[0].cells[0]).toMatchObject({ cells: 3, prompts: 2 });
  });

  test('where both replaced still differ nothing counts', async () => {
    const { figure } = await drawn([...cells('c', 'a', 4, 3, 1, 0.5), ...cells('c', 'b', 2, 3, 1)]);
    expect(figure.title).toBe('Not valid: with both replaced 1 of 2 steps still differ');
    expect(texts(figure.svg)).toContain('✗ differs in 1 / 2');
  });

  test('says of equal arms that there is nothing to recover', async () => {
    const { figure } = await drawn(cells('c', 'a', 0, 0, 0));
    expect(figure.title).toMatch(/^Nothing to recover/);
    expect(texts(figure.svg).filter((found) => found.includes('exactly 0 in 1 / 1'))).toHaveLength(4);
    expectSafe(figure.svg);
  });

  test('averages nothing with a NaN in it', async () => {
    const { data, figure } = await drawn([...cells('c', 'a', 4, Number.NaN, 1), ...cells('c', 'b', 2, 3, 1)]);
    expect(data.panels[0].cells[1]).toMatchObject({ distance: null, recovery: null, notFinite: 1 });
    expect(texts(figure.svg)).toContain('× not a number in 1 / 2');
    expectSafe(figure.svg);
  });

  test('histories of single layers, later horizons and other specs are no part of it', async () => {
    const off = { base: 4, patched: 100 };
    const { data } = await drawn([
      patchRow('c', 'a', 'recomputed', 'decode', off, { layer: 1 }),
      ...two,
      patchRow('c', 'a', 'recomputed', 'decode', off, { layer: 1, first_layer: 1 }),
      patchRow('c', 'a', 'recomputed', 'decode', off, { head: 0 }),
      patchRow('c', 'a', 'cached', 'prefill', off, { horizon: 1 }),
      patchRow('c', 'a', 'cached', 'decode', off, { spec: 'residual', hook: 'blocks.*.hook_resid_post', layer: 2 }),
    ]);
    expect(data.panels[0].cells.map(({ distance }) => distance?.value)).toEqual([3, 3, 1, 0]);
  });

  test('each of its cells says what it is, its distance and interval, and how many steps are exactly 0', async () => {
    const { figure } = await drawn(two);
    const found = dataOf(figure.svg, 'rect', 'data-history');
    expect(found.map((cell) => [cell['data-history'], cell['data-kernel'], Number(cell['data-distance'])])).toEqual([
      ['cached', 'decode', 3],
      ['cached', 'prefill', 3],
      ['recomputed', 'decode', 1],
      ['recomputed', 'prefill', 0],
    ]);
    expect(found[0]).toMatchObject({ 'data-low': '2', 'data-high': '4', 'data-exact': '0', 'data-n': '2' });
    expect(found[3]).toMatchObject({ 'data-exact': '2', 'data-recovery': '1', 'data-condition': 'c' });
    const broken = await drawn([...cells('c', 'a', 4, Number.NaN, 1), ...cells('c', 'b', 2, 3, 1)]);
    expect(dataOf(broken.figure.svg, 'rect', 'data-history')[1]['data-distance']).toBe('not a number');
  });

  test('has a panel for each condition, the focus first, at most six', async () => {
    const names = Array.from({ length: 9 }, (_, i) => `c${i}`);
    const many = names.map((name) => conditionRow(name, { kernels: name }));
    const run = runOf({ conditions: many, patches: names.flatMap((name) => cells(name, 'a', 4, 3, 1)) });
    const data = present(await twoByTwoData(run, { condition: 'c4' }));
    expect(data.panels.map(({ condition }) => condition)).toEqual(['c4', 'c0', 'c1', 'c2', 'c3', 'c5']);
    const figure = twoByTwoFigure(data, light);
    expect(figure.subtitle).toMatch(/3 more conditions have no panel/);
    expect(figure.title).toMatch(/^fp16 · c4: Recomputed/);
  });

  test('says what is missing', async () => {
    expect(await twoByTwoData(runOf({ conditions }))).toMatchObject({ missing: 'No patches.arrow.' });
    const three = await twoByTwoData(runOf({ conditions, patches: two.slice(0, 3) }));
    expect(three).toMatchObject({ missing: 'No 2×2 of history and kernel in patches.arrow.' });
  });

  test('hostile names stay text', async () => {
    const { figure } = await drawn(cells(hostile, hostile, 4, 3, 1), [
      conditionRow(hostile, { model: hostile, kernels: hostile }),
    ]);
    expectSafe(figure.svg);
  });
});
