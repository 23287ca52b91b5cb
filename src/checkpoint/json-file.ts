/** Read a JSON file that others wrote: bounded, and every failure one clear line. */
import { readFileSync, statSync } from 'node:fs';
import { InputError } from '../errors.ts';

/** Larger than any tokenizer.json in use (a 256,000-entry vocabulary takes about 35 MB). */
const largestJson = 256 * 1024 * 1024;

/** The parsed content. @throws InputError naming the file. */
export function readJsonFile(file: string): unknown {
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > largestJson)
      throw new InputError(`${file}: ${size} bytes, expected at most ${largestJson} for a JSON file`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${file}: cannot be read (${errorCode(error)})`);
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const reason = error instanceof Error ? error.message.replaceAll(/\s+/g, ' ').slice(0, 120) : 'syntax error';
    throw new InputError(`${file}: not valid JSON (${reason})`);
  }
}

/** `ENOENT`, `EACCES` … or the message of an error without a code. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code);
  return error instanceof Error ? error.message.split('\n')[0] : String(error);
}
