/** Columns of record batches, by row: never whole rows as objects, since a table may be larger than memory. */
import { DataType, type RecordBatch, type Vector } from 'apache-arrow';
import { InputError } from '../../errors.ts';
import type { RunTable } from './run-tables.ts';

export type Column<Value> = (row: number) => Value;

/** The columns of one batch; each throws an InputError where the table has no such column, or one of another type. */
export class Columns {
  private readonly table: RunTable;
  private readonly batch: RecordBatch;

  constructor(table: RunTable, batch: RecordBatch) {
    this.table = table;
    this.batch = batch;
  }

  /** Numbers; NaN and infinities as they are, null where nothing was measured. */
  numbers(name: string): Column<number | null> {
    return this.typed(name, 'numbers', (type) => DataType.isFloat(type) || DataType.isInt(type), Number);
  }

  /** Numbers of a column without nulls. */
  required(name: string): Column<number> {
    const values = this.numbers(name);
    return (row) => values(row) ?? this.fail(`${name} of a row`, 'null', 'a number');
  }

  /** Text, dictionary-encoded or not; an empty text for null. */
  texts(name: string): Column<string> {
    const isText = (type: DataType) => DataType.isUtf8(DataType.isDictionary(type) ? type.dictionary : type);
    const values = this.typed(name, 'text', isText, String);
    return (row) => values(row) ?? '';
  }

  booleans(name: string): Column<boolean | null> {
    return this.typed(name, 'true or false', DataType.isBool, Boolean);
  }

  /** Lists of numbers. */
  lists(name: string): Column<number[]> {
    const values = this.typed(
      name,
      'lists',
      (type) => DataType.isList(type) || DataType.isFixedSizeList(type),
      (value) => (isIterable(value) ? Array.from(value, Number) : []),
    );
    return (row) => values(row) ?? [];
  }

  private typed<Value>(
    name: string,
    expected: string,
    fits: (type: DataType) => boolean,
    of: (value: unknown) => Value,
  ): Column<Value | null> {
    const vector = this.batch.getChild(name);
    if (!vector) return this.fail('columns', `no ${name}`, name);
    const type: DataType = vector.type;
    if (!fits(type)) return this.fail(`column ${name}`, String(type), expected);
    // A dictionary's text is decoded once, not once a row.
    const values: Vector = DataType.isDictionary(type) ? vector.memoize() : vector;
    return (row) => {
      const value: unknown = values.get(row);
      return value === null || value === undefined ? null : of(value);
    };
  }

  private fail(what: string, found: string, expected: string): never {
    throw new InputError(
      `${this.table}.arrow: ${what}: found ${found}, expected ${expected}`,
      'the file is of another version of kvlens, or none of its tables',
    );
  }
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}
