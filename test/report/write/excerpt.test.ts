/** The rows that a page brings along, unpacked here by other means: they are the run's, of whole prompts, and all that is needed. */
import { gunzipSync } from 'node:zlib';
import { Table, tableFromIPC } from 'apache-arrow';
import { expect, test } from 'vitest';
import { thumbnailData } from '../../../src/report/data/drift-map.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import type { RunTable, RunTables } from '../../../src/report/data/run-tables.ts';
import { type TokenFlow, tokenFlowData } from '../../../src/report/data/token-flow.ts';
import { excerptOf } from '../../../src/report/write/excerpt.ts';
import { conditionRow, present } from '../run-fixture.ts';
import { type GivenRow, mapRows, tablesOfRows } from '../tables-of-rows.ts';
import { flowRows, parting, words } from '../token-flow-rows.ts';

interface Excerpt {
  name: string;
  tables: Record<string, string>;
  texts: Record<string, string>;
}

async function unpack(run: RunTables) {
  const packed = await excerptOf(run);
  const excerpt: Excerpt = JSON.parse(gunzipSync(Buffer.from(packed, 'base64')).toString('utf8'));
  const tables = new Map(
    Object.entries(excerpt.tables).map(([name, content]) => [name, tableFromIPC(Buffer.from(content, 'base64'))]),
  );
  const read: RunTables = {
    name: excerpt.name,
    has: (table) => tables.has(`${table}.arrow`),
    batches: async function* (table) {
      yield* tables.get(`${table}.arrow`)?.batches ?? [];
    },
    json: async () => null,
  };
  const rows = (table: RunTable) => rowsOf(tables.get(`${table}.arrow`));
  return { excerpt, rows, read, names: [...tables.keys()].sort() };
}

/** Every value of every row; numbers stay what they are, NaN too. */
function rowsOf(table: Table | undefined): GivenRow[] {
  const value = (found: unknown): unknown =>
    found !== null && typeof found === 'object' && Symbol.iterator in found ? [...(found as Iterable<unknown>)] : found;
  return [...(table ?? [])].map((row) =>
    Object.fromEntries([...(row ?? [])].map(([name, found]: [PropertyKey, unknown]) => [name, value(found)])),
  );
}

async function allRows(run: RunTables, table: RunTable): Promise<GivenRow[]> {
  const found: GivenRow[] = [];
  for await (const batch of run.batches(table)) {
    found.push(...rowsOf(new Table([batch])));
  }
  return found;
}

test('of a run of one prompt it is the run, row by row', async () => {
  const run = openRunFolder('notebooks/runs/drift');
  const { excerpt, rows, names } = await unpack(run);
  expect(excerpt.name).toBe('drift');
  expect(names).toEqual(
    ['candidates', 'conditions', 'layers', 'prompts', 'steps', 'vocab'].map((name) => `${name}.arrow`),
  );
  for (const table of ['candidates', 'conditions', 'layers', 'prompts', 'steps'] as const) {
    const own = await allRows(run, table);
    expect(own.length).toBeGreaterThan(0);
    expect(rows(table)).toEqual(own);
  }
  for (const name of ['manifest', 'controls'] as const)
    expect(JSON.parse(excerpt.texts[`${name}.json`])).toEqual(await run.json(name));
});

/** Runs of several prompts; the one at `strongest` differs in most steps. */
function severalPrompts(prompts: readonly string[], strongest: number, conditions = ['c'], steps = 3) {
  const made = conditions.flatMap((condition) =>
    prompts.map((prompt, i) => {
      const rel = Array.from({ length: steps }, (_, step) => (step <= (i === strongest ? steps : 0) ? 0.5 + step : 0));
      return mapRows(
        [
          { hook: 'blocks.0.hook_resid_post', kind: 'resid_post', layer: 0, rel },
          { hook: 'logits', kind: 'logits', layer: 1, rel },
        ],
        { condition, prompt },
      );
    }),
  );
  return {
    conditions: conditions.map((condition) => conditionRow(condition, { model: 'mini' })),
    prompts: prompts.map((prompt, index) => ({ prompt, index, tokens: [1, 2], model: 'mini' })),
    vocab: [{ id: 1, string: 'He', model: 'mini' }],
    steps: made.flatMap((each) => each.steps),
    layers: made.flatMap((each) => each.layers),
  };
}

test('the prompt that the maps show comes under each of its conditions, the others under the first', async () => {
  const run = tablesOfRows(severalPrompts(['a', 'b', 'd'], 1, ['c', 'other']));
  const { rows, read } = await unpack(run);
  const owners = [...new Set(rows('layers').map(({ condition, prompt }) => `${condition} ${prompt}`))];
  expect(owners.sort()).toEqual(['c a', 'c b', 'c d', 'other b']);
  const kept = ({ condition, prompt }: GivenRow) => owners.includes(`${condition} ${prompt}`);
  for (const table of ['layers', 'steps'] as const)
    expect(rows(table)).toEqual((await allRows(run, table)).filter(kept));
  // A page that reads it shows the maps that were drawn.
  expect(present(await thumbnailData(read))).toEqual(present(await thumbnailData(run)));
});

test('only whole prompts come, the one that is shown first, and as many as have room', async () => {
  const prompts = Array.from({ length: 12 }, (_, i) => `prompt ${i}`);
  const given = severalPrompts(prompts, 9, ['c'], 8);
  const run = tablesOfRows(given);
  // Each prompt is larger than the last one would leave room for: a hook of a long name, once a row.
  const batches = async function* (table: RunTable) {
    for await (const batch of run.batches(table)) {
      if (table !== 'layers') yield batch;
      else yield Object.defineProperty(batch, 'data', { value: heavy(batch.data, batch.numRows * 62_500) });
    }
  };
  const { rows } = await unpack({ ...run, batches });
  const kept = new Set(rows('layers').map(({ prompt }) => prompt));
  // 16 rows of 62,500 bytes are 1 MB a prompt: 8 MB hold eight of them.
  expect(kept.size).toBe(8);
  expect([...kept].sort()).toEqual([...prompts.slice(0, 7), 'prompt 9']);
  for (const prompt of kept) expect(rows('layers').filter((row) => row.prompt === prompt)).toHaveLength(16);
  expect(new Set(rows('steps').map(({ prompt }) => prompt))).toEqual(kept);
  expect(new Set(rows('prompts').map(({ prompt }) => prompt))).toEqual(kept);
});

/** The same data, said to be of so many bytes. */
function heavy<Data extends { children: readonly object[] }>(data: Data, bytes: number): Data {
  const children = data.children.map((child, i) =>
    Object.create(child, { byteLength: { value: i === 0 ? bytes : 0 } }),
  );
  return Object.create(data, { children: { value: children } });
}

test('a single prompt larger than all the room comes all the same: a page without its map shows nothing', async () => {
  const run = tablesOfRows(severalPrompts(['a', 'b'], 1));
  const batches = async function* (table: RunTable) {
    for await (const batch of run.batches(table)) {
      if (table !== 'layers') yield batch;
      else yield Object.defineProperty(batch, 'data', { value: heavy(batch.data, batch.numRows * 2e6) });
    }
  };
  const { rows } = await unpack({ ...run, batches });
  expect(new Set(rows('layers').map(({ prompt }) => prompt))).toEqual(new Set(['b']));
});

/** Two prompts whose texts are shown, with maps of another. */
function textsAndMaps(layers: 'none' | 'of another prompt') {
  const shown = flowRows(parting, { prompt: 'parts', promptText: ['Why', ' me', '?'] });
  const equal = { uncached: words('One two'), cached: words('One two') };
  const other = flowRows(equal, { prompt: 'mapped' });
  const model = 'mini';
  const unused = { id: 400, model, string: 'unused', bytes: new TextEncoder().encode('unused') };
  return {
    ...shown.tables,
    prompts: [...shown.tables.prompts, { prompt: 'mapped', index: 1, tokens: [10], model }],
    steps: [...other.tables.steps, ...shown.tables.steps],
    candidates: shown.tables.candidates ?? [],
    vocab: [...shown.tables.vocab, unused, { id: 10, model: 'another', string: 'x' }],
    ...(layers === 'none'
      ? {}
      : {
          layers: mapRows([{ hook: 'logits', kind: 'logits', layer: 0, rel: [0, 1] }], { prompt: 'mapped' }).layers,
        }),
  };
}

const named = ({ arms, promptEnd }: TokenFlow) =>
  [...promptEnd, ...arms.cached, ...arms.uncached, ...arms.cached.flatMap(({ candidates }) => candidates ?? [])].map(
    ({ text }) => text,
  );

test.each(['none', 'of another prompt'] as const)(
  'the texts that are shown come with their prompt, candidates and every token’s name; layers: %s',
  async (layers) => {
    const run = tablesOfRows(textsAndMaps(layers));
    const { rows, read, names } = await unpack(run);
    const [whole, own] = [present(await tokenFlowData(run)), present(await tokenFlowData(read))];
    expect(whole.prompt).toBe('parts');
    expect(named(whole).filter((text) => text.startsWith('#'))).toEqual([]);
    expect(named(whole)).toEqual(expect.arrayContaining(['Why', ' me', 'and']));
    expect(own).toEqual(whole);
    // Names of tokens that nothing shows stay behind.
    expect(rows('vocab').map(({ string }) => string)).not.toContain('unused');
    expect(names.includes('layers.arrow')).toBe(layers !== 'none');
  },
);

test('of a study the texts of the page can be read from it', async () => {
  const run = openRunFolder('notebooks/runs/study');
  const { read } = await unpack(run);
  expect(present(await tokenFlowData(read))).toEqual(present(await tokenFlowData(run)));
});

test('a run without any of these tables has an excerpt without rows', async () => {
  const { excerpt, names } = await unpack({ ...tablesOfRows({}), name: 'bare' });
  expect(excerpt.name).toBe('bare');
  expect(names).toEqual([]);
});
