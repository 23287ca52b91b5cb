/** Recovery after a patch: places by the square root, rings where nothing else could come out, gaps where there is no number. */
import { describe, expect, test } from 'vitest';
import { recoveryData } from '../../../src/report/data/recovery.ts';
import { recoveryFigure } from '../../../src/report/figures/recovery.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { conditionRow, hostile, patchRow, present, runOf } from '../run-fixture.ts';
import { dataOf, expectSafe, paths, texts } from './marks.ts';

const light = { appearance: 'light' } as const;
const conditions = [conditionRow('c')];
const resid = {
  spec: 'residual',
  hook: 'blocks.*.hook_resid_pre,blocks.*.hook_resid_post',
  layer: 2,
  first_layer: 0,
  component: 'value',
};

/** A residual patch that leaves `patched` of a distance of 1 at a horizon. */
const residual = (horizon: number, patched: number, more: Partial<Row<'patches'>> = {}, base = 1) =>
  patchRow('c', 'p', 'cached', 'decode', { base, patched }, { ...resid, horizon, ...more });

async function drawn(patches: Row<'patches'>[]) {
  const data = present(await recoveryData(runOf({ conditions, patches })));
  return { data, figure: recoveryFigure(data, light) };
}

const blue = 'fill="#0B62A4"';

describe('recovery after a patch', () => {
  test('stands at the square root of the steps after it, and at its height', async () => {
    const { figure } = await drawn([residual(0, 0.5), residual(1, 0), residual(4, 1), residual(9, 0.5)]);
    const line = paths(figure.svg, 'fill="none" stroke="#0B62A4" stroke-width="1.6"')[0].d;
    const at = [...line.matchAll(/([\d.]+) ([\d.]+)/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
    const third = (at[3].x - at[0].x) / 3;
    expect(at[1].x - at[0].x).toBeCloseTo(third, 1);
    expect(at[2].x - at[0].x).toBeCloseTo(2 * third, 1);
    expect(at[0].y).toBeCloseTo((at[1].y + at[2].y) / 2, 1);
    expect(at[3].y).toBeCloseTo(at[0].y, 6);
    expectSafe(figure.svg);
  });

  test('a ring marks what is 1 by construction, and the title says so', async () => {
    const { figure } = await drawn([residual(0, 0, { by_construction: true }), residual(1, 0.99)]);
    expect(paths(figure.svg, 'fill="#FDFDFB" stroke="#0B62A4" stroke-width="1.8"')).toHaveLength(1);
    expect(figure.title).toBe('Residual, all layers recovers 1 by construction at the patched step, 0.01 at +1');
    expect(figure.subtitle).toMatch(/Rings: by construction, no evidence/);
  });

  test('one cell that could have come out otherwise makes no ring', async () => {
    const { figure } = await drawn([residual(0, 0, { by_construction: true }), residual(0, 0, { step: 16 })]);
    expect(paths(figure.svg, 'fill="#FDFDFB" stroke="#0B62A4"')).toHaveLength(0);
    expect(paths(figure.svg, blue).length).toBe(1);
  });

  test('nothing to recover is ∅, and no line goes through it', async () => {
    const { figure } = await drawn([residual(0, 0.5), residual(1, 0, {}, 0), residual(5, 0.5), residual(20, 0.5)]);
    expect(texts(figure.svg)).toContain('∅');
    const line = paths(figure.svg, 'fill="none" stroke="#0B62A4" stroke-width="1.6"')[0].d;
    expect(line.match(/M/g)).toHaveLength(2);
    expect(line.match(/L/g)).toHaveLength(1);
    expect((await drawn([residual(0, 0, {}, 0)])).figure.title).toBe('Nothing to recover at any step after a patch');
  });

  test('what is not a number is a red cross and no recovery', async () => {
    const { figure, data } = await drawn([residual(0, Number.NaN), residual(0, 0.5, { step: 16 }), residual(1, 0.5)]);
    expect(data.panels[0].series[0].at[0]).toMatchObject({ recovery: null, notFinite: 1, cells: 2 });
    expect(paths(figure.svg, 'stroke="#B3261E"')).toHaveLength(1);
    expectSafe(figure.svg);
  });

  test('a recovery below the axis is marked at its end with its value', async () => {
    const { figure } = await drawn([residual(0, 0.5), residual(1, 4)]);
    expect(texts(figure.svg)).toContain('−3.00');
    expectSafe(figure.svg);
  });

  test('each of its marks says what was patched, when, and what came of it', async () => {
    const { figure } = await drawn([
      residual(0, 0, { by_construction: true }),
      residual(1, 0.25),
      residual(5, 0, {}, 0),
    ]);
    const found = dataOf(figure.svg, 'rect', 'data-horizon');
    expect(found.map((mark) => [mark['data-horizon'], mark['data-recovery'], mark['data-forced']])).toEqual([
      ['0', '1', '1'],
      ['1', '0.75', undefined],
      ['5', '∅ nothing to recover', undefined],
    ]);
    expect(found[0]).toMatchObject({ 'data-patch': 'residual, all layers', 'data-spec': 'residual', 'data-n': '1' });
    // Where it is read is where it is drawn.
    const [ring] = paths(figure.svg, 'fill="#FDFDFB" stroke="#0B62A4"');
    expect(Number(found[0].x) + 7).toBeCloseTo(ring.x + 4.5, 1);
    expect(Number(found[0].y) + 7).toBeCloseTo(ring.y, 1);
  });

  test('names the factors, and leaves the unpatched arm out', async () => {
    const { data } = await drawn([
      patchRow('c', 'p', 'cached', 'decode', { base: 1, patched: 1 }),
      patchRow('c', 'p', 'cached', 'prefill', { base: 1, patched: 0.9 }),
      patchRow('c', 'p', 'recomputed', 'decode', { base: 1, patched: 0.2 }),
      patchRow('c', 'p', 'recomputed', 'prefill', { base: 1, patched: 0 }),
      residual(0, 0.4),
      residual(0, 0.4, { spec: 'one', hook: 'blocks.1.hook_resid_post', layer: 1, first_layer: 1 }),
    ]);
    expect(data.panels[0].series.map(({ name, what }) => [name, what])).toEqual([
      ['prefill kernel', 'kernel'],
      ['K/V history', 'history'],
      ['both', 'both'],
      ['residual, all layers', 'residual'],
      ['hook_resid_post L1', 'other'],
    ]);
  });

  test('of a grid the factors and the cells that recover most are drawn, and the rest counted', async () => {
    const heads = Array.from({ length: 9 }, (_, head) =>
      patchRow('c', 'p', 'recomputed', 'decode', { base: 1, patched: head / 10 }, { spec: 'grid', head }),
    );
    const { data, figure } = await drawn([...heads, residual(0, 0.9)]);
    const [{ series, left }] = data.panels;
    expect(series.map(({ head }) => head)).toEqual([null, 0, 1, 2, 3]);
    expect(left).toBe(5);
    expect(figure.subtitle).toMatch(/5 more patches not drawn/);
  });

  test('says what is missing, and hostile names stay text', async () => {
    expect(await recoveryData(runOf({ conditions }))).toMatchObject({ missing: 'No patches.arrow.' });
    expect(await recoveryData(runOf({ conditions, patches: [residual(0, 1)] }), { spec: 'no' })).toMatchObject({
      missing: 'No patched cell in patches.arrow.',
    });
    const run = runOf({
      conditions: [conditionRow(hostile, { kernels: hostile })],
      patches: [{ ...residual(0, 0.5, { hook: hostile }), condition: hostile }],
    });
    expectSafe(recoveryFigure(present(await recoveryData(run))).svg);
  });
});
