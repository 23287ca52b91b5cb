/** Rows as lists of values: what a journal holds is the row that was put in, bit for bit, and nothing else passes for one. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { JournalFile } from '../../src/store/journal-file.ts';
import { rowOf, rowValues, type UnitRow } from '../../src/store/row-values.ts';
import { type Column, type ColumnType, type TableName, tables } from '../../src/store/schemas.ts';
import { unitTables } from '../../src/study/unit/unit.ts';
import { temporaryFolder } from './folder.ts';

const names = Object.keys(tables) as TableName[];
const key = { condition: 'mini/fp16/ort/greedy', prompt: 'arith-0001' };
const hasKey = (table: TableName) => 'condition' in tables[table] && 'prompt' in tables[table];

const values: Record<ColumnType, unknown[]> = {
  text: ['greedy', '', 'Zoë 猫 🐈', 'NaN'],
  string: ['▁play', 'a\nb'],
  int16: [-1, 0, 32767, -32768],
  int32: [0, 2 ** 31 - 1, -(2 ** 31)],
  float64: [Number.NaN, -0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324, 0.1 + 0.2],
  bool: [true, false],
  'int32 list': [[], [1, -2, 3]],
  'float64 list': [[], [0.1 + 0.2, -0, 5e-324], [Number.NaN, Number.NEGATIVE_INFINITY]],
  binary: [Uint8Array.of(), Uint8Array.of(0, 255)],
};

/** Row i, without its key columns where it has them. */
function rowAt<T extends TableName>(table: T, i: number): UnitRow<T> {
  const columns = Object.entries<Column>(tables[table]).filter(([name]) => name !== 'condition' && name !== 'prompt');
  return Object.fromEntries(
    columns.map(([name, { type, nullable }], place) => {
      const choices = nullable ? [null, ...values[type]] : values[type];
      return [name, choices[(i * (place + 1) + place) % choices.length]];
    }),
  ) as UnitRow<T>;
}

/** A value of another type than the column's. */
const strangers: Record<ColumnType, unknown> = {
  text: 1,
  string: ['a'],
  int16: 0.5,
  int32: '1',
  float64: '0.5',
  bool: 0,
  'int32 list': [1, 0.5],
  'float64 list': [0.5, '0.5'],
  binary: [0, 255],
};

describe.each(names)('%s', (table) => {
  test('values in the order of the columns are the row again', () => {
    for (let i = 0; i < 60; i++) {
      const row = rowAt(table, i);
      const found: Record<string, unknown> = rowOf(table, rowValues(table, row), key);
      for (const [name, value] of Object.entries(row)) expect(Object.is(found[name], value), name).toBe(true);
      if (hasKey(table)) expect(found).toMatchObject(key);
    }
  });

  test('a value of another type, a missing one and one too many are no row', () => {
    const good = rowValues(table, rowAt(table, 1));
    const columns = Object.entries<Column>(tables[table]).filter(([name]) => name !== 'condition' && name !== 'prompt');
    expect(() => rowOf(table, good.slice(1), key)).toThrow(`${table}: ${good.length - 1} values`);
    expect(() => rowOf(table, [...good, null], key)).toThrow(`${table}: ${good.length + 1} values`);
    columns.forEach(([name, { type, nullable }], place) => {
      const changed = (value: unknown) => good.map((own, i) => (i === place ? value : own));
      expect(() => rowOf(table, changed(strangers[type]), key), name).toThrow(`${table}: not a row`);
      expect(() => rowOf(table, changed(undefined), key), name).toThrow(`${table}: not a row`);
      if (nullable) expect(rowOf(table, changed(null), key)).toMatchObject({ [name]: null });
      else expect(() => rowOf(table, changed(null), key), name).toThrow(`${table}: not a row`);
    });
  });
});

test.each(unitTables)('%s: rows come back from a journal with every NaN, −0 and null', (table) => {
  const path = join(temporaryFolder(), 'journal.jsonl');
  const rows = Array.from({ length: 60 }, (_, i) => rowValues(table, rowAt(table, i)));
  const file = JournalFile.open(path, {});
  const place = file.append({ rows });
  const found = file.read(place) as { rows: unknown[][] };
  file.close();
  found.rows.forEach((list, i) => {
    list.forEach((value, column) => {
      const own = rows[i][column];
      if (Array.isArray(own)) expect(value).toEqual(own);
      else expect(Object.is(value, own), `row ${i}, column ${column}`).toBe(true);
    });
    expect(() => rowOf(table, list, key)).not.toThrow();
  });
});
