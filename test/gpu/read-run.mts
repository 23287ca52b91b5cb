/** Reads a run folder with kvlens's own reader: columns and types of each table against the contract. Prints rows per table. */
import { join } from 'node:path';
import { openArrow } from '../../src/store/reader.ts';
import { manifestKey, type TableName, tables } from '../../src/store/schemas.ts';

const folder = process.argv[2];
for (const name of ['conditions', 'prompts', 'steps'] as const satisfies readonly TableName[]) {
  const file = await openArrow(join(folder, `${name}.arrow`));
  const table = await file.table();
  const found = table.schema.fields.map((field) => field.name);
  const expected = Object.keys(tables[name]);
  if (found.join() !== expected.join())
    throw new Error(`${name}: columns ${found.join()}, expected ${expected.join()}`);
  JSON.parse(file.schema.metadata.get(manifestKey) ?? '');
  const [first] = table.toArray();
  if (!first) throw new Error(`${name}: has no rows`);
  console.log(name, table.numRows);
  await file.close();
}
