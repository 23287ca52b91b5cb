/**
 * An append-only file of JSON lines that a crash cannot spoil: the first line says whose it is, a torn last line is cut off,
 * and lines are read one at a time, so that neither its length nor the number of lines is held in memory. One process at a
 * time writes it.
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { InputError } from '../errors.ts';
import { guard } from './files.ts';
import { Owner } from './owner.ts';

const format = 2;
const chunkBytes = 1 << 20;
const lineFeed = 0x0a;

/** Where a line is. */
export interface JournalLine {
  value: unknown;
  offset: number;
  bytes: number;
}

export interface JournalOptions {
  /** Bring each line to the disk at once (default), or once in so many milliseconds. */
  syncEvery?: number;
}

/** An open journal file. */
export class JournalFile {
  readonly path: string;
  private descriptor: number | undefined;
  /** Null where it is only read. */
  private readonly owner: Owner | null;
  private readonly syncEvery: number;
  private head: unknown;
  /** Bytes of complete lines. */
  private length = 0;
  private first = 0;
  private synced = 0;

  private constructor(path: string, descriptor: number, owner: Owner | null, syncEvery: number) {
    this.path = path;
    this.descriptor = descriptor;
    this.owner = owner;
    this.syncEvery = syncEvery;
  }

  /**
   * Open a journal, or begin one.
   * @throws InputError if it is another run's: which settings differ; if a line in it is damaged; if another process is at work
   */
  static open(path: string, identity: unknown, { syncEvery = 0 }: JournalOptions = {}): JournalFile {
    // The journal first: a folder that holds an owner alone is no unfinished run.
    const descriptor = guard(path, () => openSync(path, constants.O_RDWR | constants.O_CREAT));
    let owner: Owner;
    try {
      owner = Owner.take(path);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    const file = new JournalFile(path, descriptor, owner, syncEvery);
    try {
      const own = plain(identity);
      if (file.readHead()) requireSame(path, file.identity, own);
      else {
        file.cut(0);
        file.write({ format, identity: own });
        file.first = file.length;
        file.head = own;
      }
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Open a journal to read it; nothing is changed. @throws InputError if there is none */
  static read(path: string): JournalFile {
    if (!existsSync(path)) throw new InputError(`${path}: no such file, expected the journal of a run`);
    if (!statSync(path).isFile()) throw new InputError(`${path}: is a folder, expected the journal of a run`);
    const descriptor = guard(path, () => openSync(path, 'r'));
    const file = new JournalFile(path, descriptor, null, 0);
    try {
      if (file.readHead()) return file;
      throw new InputError(`${path}: is empty, expected the journal of a run`);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** The run that the journal belongs to. */
  get identity(): unknown {
    return this.head;
  }

  private readHead(): boolean {
    const head = this.scan().next();
    if (head.done) return false;
    const { value, bytes } = head.value;
    if (!isObject(value) || value.format !== format) {
      throw new InputError(
        `${this.path}: another version of kvlens wrote this journal`,
        'remove the folder and run again',
      );
    }
    this.head = value.identity;
    this.first = bytes;
    this.length = bytes;
    return true;
  }

  /** The lines after the first, of this sitting and of earlier ones; a torn last line is cut off once they are read to the end. */
  *lines(): Generator<JournalLine> {
    let end = this.first;
    for (const line of this.scan(this.first)) {
      yield line;
      end = line.offset + line.bytes;
    }
    this.cut(end);
  }

  /** Write one line after those that were read or written. */
  append(value: unknown): { offset: number; bytes: number } {
    return this.write(value);
  }

  /** The line at a place that `lines` or `append` told. */
  read({ offset, bytes }: { offset: number; bytes: number }): unknown {
    const buffer = Buffer.allocUnsafe(bytes);
    this.fill(buffer, offset);
    return JSON.parse(buffer.toString('utf8'), decode);
  }

  /** Keep the journal for a later sitting. */
  close(): void {
    const { descriptor } = this;
    if (descriptor === undefined) return;
    this.descriptor = undefined;
    closeSync(descriptor);
    this.owner?.release();
  }

  /** @throws RunError if another process has taken the journal over; every write asks by itself */
  requireOwned(): void {
    this.owner?.require();
  }

  /** Bring everything written to the disk. */
  sync(): void {
    guard(this.path, () => fsyncSync(this.handle()));
    this.synced = performance.now();
  }

  /** The run is complete: nothing is left to go on with. A process that lost the journal to another one leaves it there. */
  remove(): void {
    const own = this.owner?.isCurrent() ?? true;
    this.close();
    if (own) rmSync(this.path, { force: true });
  }

  private handle(): number {
    if (this.descriptor === undefined) throw new Error(`${this.path} is closed`);
    return this.descriptor;
  }

  private cut(length: number): void {
    this.length = length;
    if (this.owner !== null) guard(this.path, () => ftruncateSync(this.handle(), length));
  }

  private write(value: unknown): { offset: number; bytes: number } {
    const bytes = new TextEncoder().encode(`${JSON.stringify(value, encode)}\n`);
    const offset = this.length;
    this.requireOwned();
    guard(this.path, () => {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(this.handle(), bytes, written, bytes.length - written, offset + written);
      }
    });
    this.length += bytes.length;
    if (performance.now() - this.synced >= this.syncEvery) this.sync();
    return { offset, bytes: bytes.length };
  }

  private fill(buffer: Buffer, offset: number): number {
    let filled = 0;
    while (filled < buffer.length) {
      const size = guard(this.path, () =>
        readSync(this.handle(), buffer, filled, buffer.length - filled, offset + filled),
      );
      if (size === 0) break;
      filled += size;
    }
    return filled;
  }

  /** Complete lines from `start` on. */
  private *scan(start = 0): Generator<JournalLine> {
    let rest = Buffer.alloc(0);
    let offset = start;
    let number = start === 0 ? 1 : 2;
    let damaged: number | null = null;
    for (let position = start; ; ) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const size = this.fill(chunk, position);
      position += size;
      rest = Buffer.concat([rest, chunk.subarray(0, size)]);
      let from = 0;
      for (let end = rest.indexOf(lineFeed); end >= 0; end = rest.indexOf(lineFeed, from)) {
        // Only the last line may be damaged: the machine went down while it was written.
        if (damaged !== null) throw damage(this.path, damaged);
        const bytes = end + 1 - from;
        const value = parse(rest.toString('utf8', from, end));
        if (value === undefined) damaged = number;
        else yield { value, offset, bytes };
        from = end + 1;
        offset += bytes;
        number += 1;
      }
      rest = rest.subarray(from);
      if (size < chunkBytes) return;
    }
  }
}

function damage(path: string, line: number): InputError {
  return new InputError(
    `${path}: line ${line} is damaged`,
    line === 1
      ? 'remove the folder and run again'
      : `keep its first ${line - 1} lines, or remove the folder and run again`,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text, decode);
  } catch {
    return undefined;
  }
}

/** JSON has no word for these numbers. */
function encode(_: string, value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (Object.is(value, -0)) return { number: '-0' };
  return Number.isFinite(value) ? value : { number: String(value) };
}

function decode(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('number' in value)) return value;
  const { number } = value;
  return Object.keys(value).length === 1 && typeof number === 'string' ? Number(number) : value;
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, encode), decode);
}

/** How many differences an error names. */
const shownDifferences = 5;

function requireSame(path: string, found: unknown, own: unknown): void {
  const differing = differences(found, own);
  if (differing.length === 0) return;
  throw new InputError(
    `--resume: ${path} is another run's: ${someDifferences(differing)}`,
    'give the settings it was begun with, or another --out',
  );
}

/** The first few of what `differences` found, as one line. */
export function someDifferences(differing: readonly string[]): string {
  const more = differing.length - shownDifferences;
  return differing.slice(0, shownDifferences).join('; ') + (more > 0 ? `; … ${more} more` : '');
}

/** `decodeRows: was 1, is 2`, one for each leaf that differs. */
export function differences(found: unknown, own: unknown, path = ''): string[] {
  if (isObject(found) && isObject(own)) {
    const keys = [...new Set([...Object.keys(found), ...Object.keys(own)])];
    return keys.flatMap((key) => differences(found[key], own[key], path === '' ? key : `${path}.${key}`));
  }
  if (Array.isArray(found) && Array.isArray(own) && found.length === own.length) {
    return found.flatMap((item, i) => differences(item, own[i], `${path}[${i}]`));
  }
  if (JSON.stringify(found) === JSON.stringify(own)) return [];
  const show = (value: unknown) => {
    const text = JSON.stringify(value) ?? 'nothing';
    return text.length <= 40 ? text : `${text.slice(0, 37)}…`;
  };
  return [`${path} was ${show(found)}, is ${show(own)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
