/** From results of activation patching to panels: recoveries where something changed, tokens of both prompts. */
import { expect, test } from 'vitest';
import {
  drawPatchGrid,
  genericActivationPatch,
  logitDiff,
  Model,
  patchColumns,
  patchPanel,
  recoveryScale,
} from '../../src/index.ts';
import { display } from '../../src/report/catalogue.ts';

test('a panel has the recovery of each cell, null where the patch changes no bit, and a grid is shown in a notebook', async () => {
  const model = await Model.open('mini-llama', { precision: 'fp32' });
  const [clean, corrupted] = ['Tom has 3 apples.\n', 'Sam has 3 apples.\n'].map((text) => model.toTokens(text));
  const { cache } = await model.runWithCache(clean);
  const metric = logitDiff(clean[1], corrupted[1]);
  const target = (axes: Parameters<typeof genericActivationPatch>[4]['axes']) =>
    genericActivationPatch(model, corrupted, cache, metric, { kind: axes.length > 2 ? 'attn.k' : 'resid_pre', axes });
  const result = await target(['layer', 'pos']);
  const panel = patchPanel('Residual', result);
  expect(panel.rows).toEqual(['L0', 'L1', 'L2', 'L3', 'L4', 'L5']);
  const { clean: top, corrupted: bottom } = result;
  panel.values.forEach((row, layer) => {
    row.forEach((value, pos) => {
      const patched = result.values.get(layer, pos);
      // Before the first token that differs nothing can change, in any layer.
      if (pos === 0) expect(value).toBeNull();
      if (value !== null) expect(value).toBeCloseTo((patched - bottom) / (top - bottom), 12);
      else expect(patched).toBe(bottom);
    });
  });
  // The last layer's input at the last position decides the logits that are read.
  expect(panel.values.flat().some((value) => value !== null && Math.abs(value) > 0.5)).toBe(true);

  const columns = patchColumns(model, clean, corrupted);
  expect(columns.map(({ label }) => label).join('')).toBe('<s>Sam␣has␣3␣apples.⏎');
  const differing = columns.flatMap((column, i) => (column.clean === undefined ? [] : [i]));
  expect(differing).toEqual(corrupted.flatMap((token, i) => (token === clean[i] ? [] : [i])));
  expect(columns[1].clean).toBe('T');

  const words = { title: 'Found', subtitle: 'drawn', shows: 'A map.' };
  const figure = drawPatchGrid({ ...words, columns, panels: [panel], scale: recoveryScale });
  expect(figure[display]()).toEqual({ 'image/svg+xml': figure.svg, 'text/plain': 'Found. A map.' });

  const byHead = await target(['layer', 'pos', 'kv_head']);
  expect(() => patchPanel('Keys', byHead)).toThrow('found attn.k by layer,pos,kv_head, expected two axes');
  await model.release();
});
