/** A part of a map: whole rows and columns, with the values that belong to them. */
import { describe, expect, test } from 'vitest';
import { driftMapData } from '../../../src/report/data/drift-map.ts';
import type { LayerMap } from '../../../src/report/data/layer-map.ts';
import { type MapPart, partOfMap } from '../../../src/report/data/map-part.ts';
import { present } from '../run-fixture.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';

/** Relative L2 is 10 × row + step, so that a value says where it is from. */
const rel = (row: number) => [1, 2, 3, 4].map((step) => 10 * row + step);
const hooks = [
  { hook: 'hook_embed', kind: 'embed', layer: -1, rel: rel(0) },
  { hook: 'blocks.0.hook_resid_post', kind: 'resid_post', layer: 0, rel: rel(1) },
  { hook: 'blocks.1.hook_resid_post', kind: 'resid_post', layer: 1, rel: rel(2) },
  { hook: 'blocks.10.hook_resid_post', kind: 'resid_post', layer: 10, rel: rel(3) },
  { hook: 'logits', kind: 'logits', layer: 11, rel: rel(4) },
];
const whole = async (): Promise<LayerMap> => present(await driftMapData(tablesOfRows(mapRows(hooks))));
const cut = async (part: MapPart) => partOfMap(await whole(), part);

function contents({ hooks, steps, values, states }: LayerMap) {
  expect(states).toHaveLength(hooks.length * steps.length);
  for (const column of Object.values(values)) expect(column).toHaveLength(states.length);
  return hooks.map((_, row) => steps.map((_, column) => values.rel_l2[row * steps.length + column]));
}

test('no limit is the whole map', async () => {
  expect(partOfMap(await whole(), {})).toEqual(await whole());
});

test('layers keep what lies outside the blocks', async () => {
  const map = await cut({ layers: [1, 5] });
  expect(map.hooks.map(({ hook }) => hook)).toEqual(['hook_embed', 'blocks.1.hook_resid_post', 'logits']);
  expect(contents(map)).toEqual([rel(0), rel(2), rel(4)]);
});

test('steps are from first to last, both included, with their own values', async () => {
  const map = await cut({ steps: [2, 3], layers: [10, 10] });
  expect(map.steps.map(({ step }) => step)).toEqual([2, 3]);
  expect(contents(map)).toEqual([
    [2, 3],
    [32, 33],
    [42, 43],
  ]);
});

describe('hooks', () => {
  test.each<[string, number[]]>([
    ['blocks.1.*', [2]],
    ['blocks.1*', [2, 3]],
    ['*.hook_resid_post', [1, 2, 3]],
    ['logits, hook_embed', [0, 4]],
    ['logits', [4]],
    // A name is whole, and a point is a point.
    ['resid_post', []],
    ['blocks.1.hook.resid.post', []],
    ['blocks(1', []],
    ['[a-z]+', []],
    ['.*', []],
    ['*', [0, 1, 2, 3, 4]],
  ])('%s', async (named, rows) => {
    expect(contents(await cut({ hooks: named }))).toEqual(rows.map(rel));
  });
});

test('a part without a step, or without a hook, is empty', async () => {
  expect((await cut({ steps: [90, 99] })).steps).toEqual([]);
  expect((await cut({ steps: [3, 2] })).states).toHaveLength(0);
  expect((await cut({ layers: [7, 8], hooks: 'blocks.*' })).hooks).toEqual([]);
});

test('states and steps go with their cells', async () => {
  const odd = [{ ...hooks[1], rel: [0, Number.NaN, Infinity, null] }, hooks[4]];
  const map = partOfMap(present(await driftMapData(tablesOfRows(mapRows(odd)))), { steps: [2, 4] });
  expect([...map.states]).toEqual([4, 3, 0, 2, 2, 2]);
  expect(map.steps.map(({ position }) => position)).toEqual([6, 7, 8]);
});
