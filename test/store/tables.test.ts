/** Every table of the contract comes back from its file as it was written. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Table } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { TableWriter } from '../../src/store/arrow-writer.ts';
import { openArrow } from '../../src/store/reader.ts';
import {
  type Column,
  type ColumnType,
  manifestKey,
  type Row,
  type TableName,
  tables,
} from '../../src/store/schemas.ts';
import { temporaryFolder } from './folder.ts';

const folder = temporaryFolder();
const names = Object.keys(tables) as TableName[];
const identity = { schemaVersion: 1, model: 'tiny' };

/** Values of each type, awkward ones first. */
const values: Record<ColumnType, unknown[]> = {
  text: ['greedy', '', 'Zoë 猫 🐈', 'a\nb'],
  string: ['▁play', '', 'Ġ', '🐈'],
  int16: [-1, 0, 32767, -32768],
  int32: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
  float64: [NaN, -0, Infinity, -Infinity, 5e-324, 0.1, 2 ** 53],
  bool: [true, false],
  'int32 list': [[], [1, -2, 3], [2 ** 31 - 1]],
  'float64 list': [[], [0.1, -0, 5e-324], [NaN, -Infinity]],
  binary: [Uint8Array.of(), Uint8Array.of(0, 255, 10)],
};

/** Row i of a table: every value and every null of every column turns up, in changing company. */
function row(table: TableName, i: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries<Column>(tables[table]).map(([name, { type, nullable }], place) => {
      const choices = nullable ? [null, ...values[type]] : values[type];
      return [name, choices[(i * (place + 1) + place) % choices.length]];
    }),
  );
}

function dictionaries(table: TableName): Record<string, string[]> {
  const text = Object.entries<Column>(tables[table]).filter(([, { type }]) => type === 'text');
  return Object.fromEntries(text.map(([name]) => [name, values.text as string[]]));
}

function write(table: TableName, rows: number, file = `${table}-${rows}.arrow`): string {
  const path = join(folder, file);
  const writer = new TableWriter(path, table, identity, dictionaries(table));
  for (let i = 0; i < rows; i++) writer.add(row(table, i) as Row<typeof table>);
  writer.close();
  return path;
}

async function read(path: string): Promise<{ table: Table; batches: number; metadata: Map<string, string> }> {
  const file = await openArrow(path);
  const table = await file.table();
  await file.close();
  return { table, batches: file.batchCount, metadata: file.schema.metadata };
}

/** A cell as `row` makes it. */
function plain(value: unknown, type: ColumnType): unknown {
  if (value === null || !type.endsWith(' list')) return value;
  return Array.from(value as Iterable<number>);
}

describe.each(names)('%s', (name) => {
  test('40,000 rows in three batches come back with every null, NaN, −0 and text', async () => {
    const { table, batches } = await read(write(name, 40_000));
    expect(batches).toBe(3);
    expect(table.numRows).toBe(40_000);
    expect(table.schema.fields.map((field) => field.name)).toEqual(Object.keys(tables[name]));
    const columns = Object.entries<Column>(tables[name]).map(([column, { type }]) => {
      return { column, type, found: table.getChild(column)! };
    });
    const wrong: unknown[] = [];
    for (let i = 0; i < 40_000; i++) {
      const expected = row(name, i);
      for (const { column, type, found } of columns) {
        const value = plain(found.get(i), type);
        const same =
          typeof value === 'object' && value !== null
            ? isDeepStrictEqual(value, expected[column])
            : Object.is(value, expected[column]);
        if (!same) wrong.push({ i, column, value, expected: expected[column] });
      }
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  test('no row at all is a readable file with all columns', async () => {
    const { table, metadata } = await read(write(name, 0));
    expect(table.numRows).toBe(0);
    expect(table.schema.fields.map((field) => field.name)).toEqual(Object.keys(tables[name]));
    expect(JSON.parse(metadata.get(manifestKey) ?? '')).toEqual(identity);
  });

  test('nullability and types are those of the schema', async () => {
    const { table } = await read(write(name, 1));
    const arrow: Record<ColumnType, RegExp> = {
      text: /^Dictionary<Int32, Utf8>$/,
      string: /^Utf8$/,
      int16: /^Int16$/,
      int32: /^Int32$/,
      float64: /^Float64$/,
      bool: /^Bool$/,
      'int32 list': /^List<Int32>$/,
      'float64 list': /^List<Float64>$/,
      binary: /^Binary$/,
    };
    for (const [column, { type, nullable }] of Object.entries<Column>(tables[name])) {
      const field = table.schema.fields.find((one) => one.name === column);
      expect(String(field?.type)).toMatch(arrow[type]);
      expect(field?.nullable).toBe(nullable);
    }
  });
});

// The library numbers dictionaries through the process (Dictionary's id), and the number is stored.
test.each(names.filter((name) => name !== 'vocab'))('equal rows give equal bytes: %s', (name) => {
  const first = readFileSync(write(name, 20_000, `${name}-first.arrow`));
  expect(readFileSync(write(name, 20_000, `${name}-second.arrow`)).equals(first)).toBe(true);
});

test('NaN is never null: a nullable column keeps both apart', async () => {
  const path = join(folder, 'nan.arrow');
  const writer = new TableWriter(path, 'steps', identity, dictionaries('steps'));
  for (const error_cached of [null, NaN, 1, NaN, null]) {
    writer.add({ ...row('steps', 0), error_cached } as Row<'steps'>);
  }
  writer.close();
  const column = (await read(path)).table.getChild('error_cached')!;
  expect(column.nullCount).toBe(2);
  expect([...column]).toEqual([null, NaN, 1, NaN, null]);
});

test('a text column has one dictionary, each value once, in the order declared', async () => {
  const path = join(folder, 'dictionary.arrow');
  const declared = ['b', 'a', 'b', 'c'];
  const writer = new TableWriter(path, 'conditions', identity, { ...dictionaries('conditions'), model: declared });
  for (const model of ['c', 'a', 'b']) writer.add({ ...row('conditions', 1), model } as Row<'conditions'>);
  writer.close();
  const column = (await read(path)).table.getChild('model')!;
  expect([...column]).toEqual(['c', 'a', 'b']);
  expect([...column.data[0].dictionary!]).toEqual(['b', 'a', 'c']);
});

test('a text that was not declared is a bug, named by its column', () => {
  const writer = new TableWriter(join(folder, 'bug.arrow'), 'prompts', identity, { prompt: ['a'], model: ['tiny'] });
  expect(() => writer.add({ prompt: 'b', index: 0, text: null, tokens: [], gold: null, model: 'tiny' })).toThrow(
    /prompt: "b" was not/,
  );
  writer.abort();
});
