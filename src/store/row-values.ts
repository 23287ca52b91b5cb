/** Rows of the contract's tables as lists of values in the order of the columns: how a journal holds them. */
import { type Column, type ColumnType, type Row, type TableName, tables } from './schemas.ts';

/** The columns that every row of one work unit shares; a journal does not repeat them. */
export type KeyColumn = 'condition' | 'prompt';

/** A row without its key columns. */
export type UnitRow<T extends TableName> = Omit<Row<T>, KeyColumn>;

const columnsOf = (table: TableName): [string, Column][] =>
  Object.entries<Column>(tables[table]).filter(([name]) => name !== 'condition' && name !== 'prompt');

/** The values of a row, in the order of its columns. */
export function rowValues<T extends TableName>(table: T, row: UnitRow<T>): unknown[] {
  const values: Record<string, unknown> = { ...row };
  return columnsOf(table).map(([name]) => values[name] ?? null);
}

/** True for the values of a row of the table, in the order of its columns. */
export function isRowValues(table: TableName, values: readonly unknown[]): boolean {
  const columns = columnsOf(table);
  return values.length === columns.length && columns.every(([, column], i) => fits(column, values[i]));
}

/** The row of these values. @throws if they are not a row of the table */
export function rowOf<T extends TableName>(
  table: T,
  values: readonly unknown[],
  key: Record<KeyColumn, string>,
): Row<T> {
  const columns = columnsOf(table);
  if (values.length !== columns.length) throw new Error(`${table}: ${values.length} values`);
  const row: Record<string, unknown> = { ...key };
  columns.forEach(([name], i) => {
    row[name] = values[i];
  });
  if (!isRow(table, row)) throw new Error(`${table}: not a row`);
  return row;
}

/** True if an object has every column of a table, each of its type. */
function isRow<T extends TableName>(table: T, row: object): row is Row<T> {
  const values: Record<string, unknown> = { ...row };
  return Object.entries<Column>(tables[table]).every(([name, { type, nullable }]) =>
    fits({ type, nullable }, values[name]),
  );
}

const fits = ({ type, nullable }: Pick<Column, 'type' | 'nullable'>, value: unknown) =>
  value === null ? nullable : isOfType[type](value);

const isNumber = (value: unknown) => typeof value === 'number';
const isInteger = (bits: number) => (value: unknown) =>
  typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** (bits - 1)) && value < 2 ** (bits - 1);
const isInt32 = isInteger(32);
const isText = (value: unknown) => typeof value === 'string';

const isOfType: Record<ColumnType, (value: unknown) => boolean> = {
  text: isText,
  string: isText,
  int16: isInteger(16),
  int32: isInt32,
  float64: isNumber,
  bool: (value) => typeof value === 'boolean',
  'int32 list': (value) => Array.isArray(value) && value.every(isInt32),
  'float64 list': (value) => Array.isArray(value) && value.every(isNumber),
  binary: (value) => value instanceof Uint8Array,
};
