/**
 * What a run has finished so far, so that an interrupted one goes on where it stopped: one JSON line per finished piece,
 * on the disk before the next begins. The first line is the run's identity; another configuration is refused.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { JournalFile } from './journal-file.ts';

const fileName = 'journal.jsonl';

/** Where a folder's journal is. */
export function journalPath(folder: string): string {
  return join(folder, fileName);
}

/** True if a folder holds a journal: an unfinished run. */
export function hasJournal(folder: string): boolean {
  return existsSync(journalPath(folder));
}

/** An open journal of entries of one type, which its writer knows: it is tied to the run's identity. */
export class Journal<T> {
  /** Entries of earlier sittings, in the order they were written. */
  readonly entries: readonly T[];
  private readonly file: JournalFile;

  private constructor(file: JournalFile, entries: readonly T[]) {
    this.file = file;
    this.entries = entries;
  }

  /**
   * Open the journal of a run folder, or begin one. A torn last line – the machine went down while it was written – is cut off.
   * @param parse checks an entry of an earlier sitting
   * @throws InputError if it is another run's: which settings differ
   */
  static open<T>(folder: string, identity: unknown, parse: (value: unknown) => T): Journal<T> {
    const path = journalPath(folder);
    const file = JournalFile.open(path, identity);
    try {
      let line = 1;
      const entries: T[] = [];
      for (const { value } of file.lines()) entries.push(parseEntry(parse, value, `${path}: line ${++line}`));
      return new Journal(file, entries);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Write one entry; it is on the disk when this returns. */
  append(entry: T): void {
    this.file.append(entry);
  }

  /** Keep the journal for a later sitting. */
  close(): void {
    this.file.close();
  }

  /** The run is complete: nothing is left to go on with. */
  remove(): void {
    this.file.remove();
  }
}

/** @throws InputError for what no run of this kind has written */
export function parseEntry<T>(parse: (value: unknown) => T, line: unknown, place: string): T {
  try {
    return parse(line);
  } catch {
    throw new InputError(`${place} is not what a run of this kind writes`, 'remove the folder and run again');
  }
}
