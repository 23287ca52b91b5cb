/**
 * What a run has finished so far, so that an interrupted one goes on where it stopped: one JSON line per finished piece,
 * on the disk before the next begins. The first line is the run's identity; another configuration is refused.
 */
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { guard } from './files.ts';

const fileName = 'journal.jsonl';
const format = 1;

/** True if a folder holds a journal: an unfinished run. */
export function hasJournal(folder: string): boolean {
  return existsSync(join(folder, fileName));
}

/** An open journal of entries of one type, which its writer knows: it is tied to the run's identity. */
export class Journal<T> {
  /** Entries of earlier sittings, in the order they were written. */
  readonly entries: readonly T[];
  private readonly path: string;
  private descriptor: number | undefined;

  private constructor(path: string, descriptor: number, entries: readonly T[]) {
    this.path = path;
    this.descriptor = descriptor;
    this.entries = entries;
  }

  /**
   * Open the journal of a run folder, or begin one. A torn last line – the machine went down while it was written – is cut off.
   * @param parse checks an entry of an earlier sitting
   * @throws InputError if it is another run's: which settings differ
   */
  static open<T>(folder: string, identity: unknown, parse: (value: unknown) => T): Journal<T> {
    const path = join(folder, fileName);
    const known = existsSync(path) ? readLines(path) : { lines: [], bytes: 0 };
    const own = { format, identity: plain(identity) };
    const [head, ...rest] = known.lines;
    if (head !== undefined) requireSame(path, head, own);
    const entries = rest.map((line, i) => parseEntry(parse, line, `${path}: line ${i + 2}`));
    const descriptor = guard(path, () => openSync(path, existsSync(path) ? 'r+' : 'w+'));
    guard(path, () => ftruncateSync(descriptor, known.bytes));
    const journal = new Journal(path, descriptor, entries);
    journal.position = known.bytes;
    if (head === undefined) journal.write(own);
    return journal;
  }

  private position = 0;

  /** Write one entry; it is on the disk when this returns. */
  append(entry: T): void {
    this.write(entry);
  }

  /** Keep the journal for a later sitting. */
  close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  /** The run is complete: nothing is left to go on with. */
  remove(): void {
    this.close();
    rmSync(this.path, { force: true });
  }

  private write(value: unknown): void {
    const descriptor = this.descriptor;
    if (descriptor === undefined) throw new Error(`${this.path} is closed`);
    const bytes = new TextEncoder().encode(`${JSON.stringify(value, encode)}\n`);
    guard(this.path, () => {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(descriptor, bytes, written, bytes.length - written, this.position + written);
      }
      fsyncSync(descriptor);
    });
    this.position += bytes.length;
  }
}

/** @throws InputError for what no run of this kind has written */
function parseEntry<T>(parse: (value: unknown) => T, line: unknown, place: string): T {
  try {
    return parse(line);
  } catch {
    throw new InputError(`${place} is not what a run of this kind writes`, 'remove the folder and run again');
  }
}

/** Complete lines that are JSON, and how many bytes they take. */
function readLines(path: string): { lines: unknown[]; bytes: number } {
  const content = guard(path, () => readFileSync(path));
  const lines: unknown[] = [];
  let bytes = 0;
  for (let start = 0; ; ) {
    const end = content.indexOf(0x0a, start);
    if (end < 0) break;
    try {
      lines.push(JSON.parse(content.toString('utf8', start, end), decode));
    } catch {
      if (content.indexOf(0x0a, end + 1) < 0) break;
      throw new InputError(`${path}: line ${lines.length + 1} is damaged`, 'remove the folder and run again');
    }
    start = end + 1;
    bytes = start;
  }
  return { lines, bytes };
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

function requireSame(path: string, found: unknown, own: unknown): void {
  const differing = differences(found, own, '');
  if (differing.length === 0) return;
  const shown = differing.slice(0, 3).join('; ') + (differing.length > 3 ? '; …' : '');
  throw new InputError(
    `--resume: ${path} is another run's: ${shown}`,
    'give the settings it was begun with, or another --out',
  );
}

/** `decodeRows: found 1, expected 2`, one for each leaf that differs. */
function differences(found: unknown, own: unknown, path: string): string[] {
  if (isObject(found) && isObject(own)) {
    const keys = [...new Set([...Object.keys(found), ...Object.keys(own)])];
    return keys.flatMap((key) => differences(found[key], own[key], path === '' ? key : `${path}.${key}`));
  }
  if (JSON.stringify(found) === JSON.stringify(own)) return [];
  const show = (value: unknown) => {
    const text = JSON.stringify(value) ?? 'nothing';
    return text.length <= 40 ? text : `${text.slice(0, 37)}…`;
  };
  return [`${path.replace(/^identity\./, '')} was ${show(found)}, is ${show(own)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
