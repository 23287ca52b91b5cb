/** Read a JSON file that others wrote: bounded, and every failure one clear line. */
import { readFileSync, statSync } from 'node:fs';
import { InputError } from '../errors.ts';
import { duplicateKey } from './json-keys.ts';
import { oneLine, show } from './show.ts';

/** Larger than any tokenizer.json in use (a 256,000-entry vocabulary takes about 35 MB). */
const largestJson = 256 * 1024 * 1024;

/** The parsed content; no object in it has a key twice. @throws InputError naming the file. */
export function readJsonFile(file: string): unknown {
  let text: string;
  let value: unknown;
  try {
    const { size } = statSync(file);
    if (size > largestJson)
      throw new InputError(`${file}: ${size} bytes, expected at most ${largestJson} for a JSON file`);
    text = readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = errorCode(error);
    throw new InputError(
      code === 'EISDIR' ? `${file}: is a folder, expected a JSON file` : `${file}: cannot be read (${code})`,
    );
  }
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? oneLine(error.message.replaceAll(/\s+/g, ' ')) : 'syntax error';
    throw new InputError(`${file}: not valid JSON (${reason})`);
  }
  const twice = duplicateKey(text);
  if (twice !== null) throw new InputError(`${file}: key ${show(twice)} occurs twice in one object, expected it once`);
  return value;
}

/** `ENOENT`, `EACCES` … or the message of an error without a code. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code);
  return error instanceof Error ? error.message.split('\n')[0] : String(error);
}
