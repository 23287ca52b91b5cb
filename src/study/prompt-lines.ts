/** Lines of a JSON Lines file, one at a time, so that neither a huge file nor a huge line is held in memory. */
import { closeSync, openSync, readSync } from 'node:fs';
import { InputError } from '../errors.ts';

/** Longer than any prompt a model can read; a file without line ends is refused here and not at the memory's end. */
const longestLine = 8 * 1024 * 1024;
const chunkBytes = 64 * 1024;
const lineFeed = 0x0a;

/** One line that is not blank. */
export interface FileLine {
  /** 1-based. */
  number: number;
  /** Without its line end, and without a byte order mark. */
  text: string;
}

/**
 * Lines of `file` that are not blank; LF and CRLF, with or without a byte order mark.
 * @throws InputError naming the file, and the line where it is not UTF-8 or too long.
 */
export function* readLines(file: string): Generator<FileLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let number = 0;
  for (const bytes of readByteLines(file)) {
    number += 1;
    let text: string;
    try {
      text = decoder.decode(bytes);
    } catch {
      throw new InputError(`${file}:${number}: not UTF-8, expected JSON Lines in UTF-8`);
    }
    if (number === 1 && text.startsWith('\ufeff')) text = text.slice(1);
    if (text.endsWith('\r')) text = text.slice(0, -1);
    if (text.trim() !== '') yield { number, text };
  }
}

function* readByteLines(file: string): Generator<Buffer> {
  const descriptor = open(file);
  try {
    let rest: Buffer[] = [];
    let held = 0;
    let number = 1;
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const size = read(descriptor, chunk, file);
      if (size === 0) break;
      let start = 0;
      for (let end = chunk.indexOf(lineFeed); end >= 0 && end < size; end = chunk.indexOf(lineFeed, start)) {
        yield Buffer.concat([...rest, chunk.subarray(start, end)]);
        rest = [];
        held = 0;
        number += 1;
        start = end + 1;
      }
      rest.push(chunk.subarray(start, size));
      held += size - start;
      if (held > longestLine) {
        throw new InputError(`${file}:${number}: line longer than ${longestLine} bytes, expected one prompt per line`);
      }
    }
    if (held > 0) yield Buffer.concat(rest);
  } finally {
    closeSync(descriptor);
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (error) {
    throw new InputError(`${file}: cannot open the prompt file (${reason(error)})`);
  }
}

function read(descriptor: number, chunk: Buffer, file: string): number {
  try {
    return readSync(descriptor, chunk);
  } catch (error) {
    throw new InputError(`${file}: cannot read the prompt file (${reason(error)}), expected a JSON Lines file`);
  }
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  return { ENOENT: 'no such file', EISDIR: 'it is a folder', EACCES: 'permission denied' }[code] ?? code;
}
