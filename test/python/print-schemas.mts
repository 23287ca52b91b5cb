/** Prints the contract of a run's tables as JSON: {table: {column: {type, nullable}}}. */
import { type Column, tables } from '../../src/store/schemas.ts';

const contract = Object.fromEntries(
  Object.entries<Record<string, Column>>(tables).map(([table, columns]) => [
    table,
    Object.fromEntries(Object.entries(columns).map(([name, { type, nullable }]) => [name, { type, nullable }])),
  ]),
);
console.log(JSON.stringify(contract));
