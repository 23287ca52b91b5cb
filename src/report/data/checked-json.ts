/** A run's JSON files, checked: a file of another version, or of another program, is refused by its name and the field. */
import type { z } from 'zod';
import { InputError } from '../../errors.ts';
import type { RunTables } from './run-tables.ts';

/** @param hint what the file should be @throws InputError for a value that the schema does not take */
export function checkedJson<Schema extends z.ZodType>(
  file: Parameters<RunTables['json']>[0],
  value: unknown,
  schema: Schema,
  hint: string,
): z.infer<Schema> {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const [{ path, message }] = found.error.issues;
  throw new InputError(`${file}.json: ${path.join('.') || 'its content'}: ${message}`, hint);
}
