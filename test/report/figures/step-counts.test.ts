/** What a map says of its steps: the run compared more hooks than a map holds, and no filter makes bits equal. */
import { describe, expect, test } from 'vitest';
import { readConditions } from '../../../src/report/data/conditions.ts';
import { driftMapData } from '../../../src/report/data/drift-map.ts';
import { earliestStep } from '../../../src/report/data/earliest.ts';
import { partOfMap } from '../../../src/report/data/map-part.ts';
import { isMissing } from '../../../src/report/data/missing.ts';
import { driftMapFigure } from '../../../src/report/figures/drift-map.ts';
import { thumbnailFigure } from '../../../src/report/figures/thumbnails.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';
import { texts } from './marks.ts';

const equal = [
  { hook: 'blocks.0.hook_resid_post', kind: 'resid_post', layer: 0, rel: [0, 0, 0, 0] },
  { hook: 'logits', kind: 'logits', layer: 1, rel: [0, 0, 0, 0] },
];
const later = [
  { hook: 'blocks.0.hook_resid_post', kind: 'resid_post', layer: 0, rel: [0, 0, 0.1, 0.1] },
  { hook: 'blocks.1.hook_resid_post', kind: 'resid_post', layer: 1, rel: [0, 0, 0.1, 0.2] },
];

/** A map whose steps differ as the run says, in hooks that were compared but not written. */
async function mapOf(hooks: typeof equal, differs: readonly (boolean | null)[]) {
  const rows = mapRows(hooks);
  const steps = rows.steps.map((row) => ({ ...row, differs: row.step === 0 ? false : differs[row.step - 1] }));
  const map = await driftMapData(tablesOfRows({ ...rows, steps }));
  if (isMissing(map)) throw new Error(map.missing);
  return map;
}

describe('a map', () => {
  test('is bit-equal where the run says so of every step', async () => {
    const map = await mapOf(equal, [false, false, false, false]);
    expect(driftMapFigure(map).title).toBe('Bit-equal in all 4 steps');
    expect(texts(thumbnailFigure([map]).svg)).toEqual(expect.arrayContaining(['bit-equal', '4 / 4 steps exactly 0']));
  });

  test('says of steps that differ in hooks it does not hold that they differ', async () => {
    const map = await mapOf(equal, [true, false, true, true]);
    expect(driftMapFigure(map).title).toBe('3 of 4 steps differ, in none of the rows captured at more than one step');
    const figure = thumbnailFigure([map]);
    expect(figure.title).toMatch(/^Steps that differ: 3 of 4 /);
    expect(texts(figure.svg)).toEqual(expect.arrayContaining(['no captured row differs', '1 / 4 steps exactly 0']));
  });

  test('claims nothing of steps in which no hook was compared', async () => {
    const map = await mapOf(equal, [null, null, false, false]);
    expect(driftMapFigure(map).title).toBe('No captured row differs in 4 steps');
    expect(texts(thumbnailFigure([map]).svg)).toContain('2 / 4 steps exactly 0');
  });

  test('counts the steps that differ, and says “seen” of what is first among some', async () => {
    const map = await mapOf(later, [false, true, true, true]);
    expect(driftMapFigure(map).title).toBe('3 of 4 steps differ, most often seen first in L0 resid post (2)');
  });

  test('cut to other layers or to nothing does not become equal', async () => {
    const map = await mapOf(later, [false, false, true, true]);
    expect(driftMapFigure(partOfMap(map, { layers: [1, 1] })).title).toBe(
      '2 of 4 steps differ, each seen first in L1 resid post',
    );
    expect(driftMapFigure(partOfMap(map, { hooks: 'nosuch' })).title).toBe('No captured hook matches');
  });
});

test('a run starts to differ at the earliest step of any prompt, not at that of the prompt shown', async () => {
  const [late, early] = [
    mapRows(later, { prompt: 'late' }),
    mapRows([{ ...later[1], rel: [0, 0.5, 0, 0] }], { prompt: 'early' }),
  ];
  const run = tablesOfRows({
    ...{ conditions: late.conditions, vocab: late.vocab, prompts: [...late.prompts, ...early.prompts] },
    ...{ steps: [...late.steps, ...early.steps], layers: [...late.layers, ...early.layers] },
  });
  const conditions = await readConditions(run);
  if (isMissing(conditions)) throw new Error(conditions.missing);
  const found = await earliestStep(run, conditions);
  expect(found).toMatchObject({ step: 2, map: { prompt: 'early' } });
  expect(found?.operations[found.first ?? 0].hook).toBe('blocks.1.hook_resid_post');
  expect(await earliestStep(run, [])).toBeNull();
});
