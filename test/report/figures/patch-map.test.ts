/** Patches of single layers as maps: pooled over prompts, hatched where there is nothing, by head, by hook or by token. */
import { describe, expect, test } from 'vitest';
import { isMissing } from '../../../src/report/data/missing.ts';
import { patchMapData } from '../../../src/report/data/patch-map.ts';
import { patchMapFigure } from '../../../src/report/figures/patch-map.ts';
import type { Row } from '../../../src/store/schemas.ts';
import { conditionRow, hostile, patchRow, present, runOf } from '../run-fixture.ts';
import { dataOf, expectSafe, texts } from './marks.ts';

const conditions = [conditionRow('c')];

/** One patched layer that leaves `patched` of `base`. */
const cell = (layer: number, base: number, patched: number, more: Partial<Row<'patches'>> = {}) =>
  patchRow(
    'c',
    'p',
    'cached',
    'decode',
    { base, patched },
    {
      ...{ spec: 's', hook: `blocks.${layer}.attn.hook_cache_k`, layer, first_layer: layer, component: 'k' },
      ...{ n_changed: 3, ...more },
    },
  );

const read = async (patches: Row<'patches'>[]) => present(await patchMapData(runOf({ conditions, patches })));

describe('patches of single layers', () => {
  test('are pooled over prompts: 1 − Σ patched / Σ base, by layer and head', async () => {
    const data = await read([
      ...[cell(0, 1, 0.5, { head: 0 }), cell(0, 3, 0.5, { head: 0, prompt: 'q' })],
      ...[cell(1, 2, 3, { head: 0 }), cell(1, 2, 0.2, { head: 1 })],
    ]);
    expect(data).toMatchObject({ axis: 'head', columns: ['0', '1'], layers: [0, 1], cells: 2, prompts: 2 });
    expect(data.panels).toEqual([
      {
        name: 'cache_k',
        values: [
          [0.75, null],
          [-0.5, 0.9],
        ],
      },
    ]);
    const figure = patchMapFigure(data, { appearance: 'light' });
    expect(figure.title).toBe('Most recovers L1 cache_k, head 1: 0.90');
    expect(texts(figure.svg)).toEqual(expect.arrayContaining(['L0', 'L1', 'H0', 'H1', 'cache_k']));
    expectSafe(figure.svg);
  });

  test('on a page each cell says its layer, its column and its value', async () => {
    const data = await read([cell(0, 1, 0.5, { head: 0 }), cell(1, 2, 3, { head: 0 }), cell(1, 2, 0.2, { head: 1 })]);
    const found = dataOf(patchMapFigure(data, { framed: false }).svg, 'rect', 'data-column');
    expect(found.map((each) => [each['data-row'], each['data-column'], each['data-value']])).toEqual([
      ['L0', 'H0', '0.5'],
      ['L0', 'H1', '∅ nothing changed, or nothing to recover'],
      ['L1', 'H0', '-0.5'],
      ['L1', 'H1', '0.9'],
    ]);
  });

  test('where nothing was changed, or nothing is to recover, there is no number', async () => {
    const data = await read([cell(0, 1, 0, { head: 0, n_changed: 0 }), cell(1, 0, 0, { head: 0 })]);
    expect(data.panels[0].values).toEqual([[null], [null]]);
    expect(patchMapFigure(data).title).toMatch(/^No patch of one layer recovers anything/);
  });

  test('later horizons, whole histories and other conditions are no part of it', async () => {
    const data = await read([
      ...[cell(0, 1, 0.4, { head: 0 }), cell(0, 1, 0, { head: 0, horizon: 1 }), cell(1, 1, 0.5, { head: 0 })],
      ...[cell(1, 1, 0, { head: 0, first_layer: 0 }), { ...cell(1, 1, 0, { head: 0 }), condition: 'other' }],
    ]);
    expect(data.panels[0].values).toEqual([[0.6], [0.5]]);
  });

  test('without heads the hooks of a layer stand beside each other', async () => {
    const hook = (layer: number, name: string) => ({ hook: `blocks.${layer}.${name}`, component: 'value' });
    const data = await read([
      ...[cell(0, 1, 0.5, hook(0, 'hook_resid_pre')), cell(0, 1, 0.25, hook(0, 'hook_mlp_out'))],
      ...[cell(1, 1, 0.5, hook(1, 'hook_resid_pre')), cell(1, 1, 0, hook(1, 'hook_mlp_out'))],
    ]);
    expect(data).toMatchObject({ axis: 'hook', columns: ['resid_pre', 'mlp_out'] });
    expect(data.panels).toEqual([
      {
        name: '',
        values: [
          [0.5, 0.75],
          [0.5, 1],
        ],
      },
    ]);
  });

  test('of two prompts the metric is drawn by position, and a name from a file is text', async () => {
    const metric = (layer: number, pos: number, value: number) =>
      cell(layer, 9, 9, { metric: hostile, metric_recovery: value, pos_start: pos, pos_end: pos + 1, spec: hostile });
    const data = await read([metric(0, 0, 0.1), metric(0, 1, 0.2), metric(1, 0, -0.3), metric(1, 1, 0.4)]);
    expect(data).toMatchObject({ axis: 'position', metric: hostile });
    expect(data.panels[0].values).toEqual([
      [0.1, 0.2],
      [-0.3, 0.4],
    ]);
    expectSafe(patchMapFigure(data).svg);
  });

  test('a run that patches one layer alone, or none, says what is missing', async () => {
    const found = await patchMapData(runOf({ conditions, patches: [cell(2, 1, 0, { head: 0 })] }));
    expect(isMissing(found) && found.missing).toBe('No patches of single layers in patches.arrow.');
    expect(await patchMapData(runOf({ conditions }))).toMatchObject({ missing: 'No patches.arrow.' });
  });
});
