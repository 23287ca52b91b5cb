/** Figures by name, as notebooks and the page ask for them. */
import { expect, test } from 'vitest';
import { display, drawFigure, type FigureName } from '../../src/report/catalogue.ts';
import type { RunTables } from '../../src/report/data/run-tables.ts';

async function* nothing() {}

const empty: RunTables = { name: 'empty', has: () => false, batches: nothing, json: async () => null };

test('a name that is no figure’s is refused in one line that lists those that are', async () => {
  // A notebook's code is not type-checked: the name comes as any text.
  const names: Record<string, FigureName> = JSON.parse('{"typo": "drift-mpa", "inherited": "constructor"}');
  for (const name of Object.values(names)) {
    await expect(drawFigure(empty, name)).rejects.toThrow(
      `drawFigure: found figure "${name}", expected one of verdict-table, drift-map,`,
    );
  }
});

test('where a run has no such rows a notebook shows what is missing and the command that makes it', async () => {
  const figure = await drawFigure(empty, 'two-by-two');
  expect(figure[display]()).toEqual({ 'text/plain': expect.stringMatching(/^No .*\. kvlens \w+ /) });
});
