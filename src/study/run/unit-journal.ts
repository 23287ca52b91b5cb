/**
 * The units that a study has finished, on the disk as they were finished. Only their places are kept in memory, so that a study
 * of any length is read again in its order.
 */
import { InputError, KvlensError } from '../../errors.ts';
import { JournalFile, type JournalLine } from '../../store/journal-file.ts';
import type { GatesUnit, PromptUnit, UnitResult } from '../unit/unit.ts';
import { parseUnit, unitHead } from '../unit/unit-schema.ts';
import type { WorkUnits } from './work-units.ts';

/** A crash of the machine, not of the process, loses at most what was written in this time. */
const syncMilliseconds = 1000;

export class UnitJournal {
  /** Gates of the groups that have been measured. */
  readonly gates = new Map<number, GatesUnit>();
  /** Prompt units that are in the journal, and the flips in them. */
  finished = 0;
  flips = 0;
  private readonly file: JournalFile;
  private readonly units: WorkUnits;
  /** By unit: where its line is. A merge holds many journals of few units each. */
  private readonly places = new Map<number, { offset: number; bytes: number }>();

  private constructor(file: JournalFile, units: WorkUnits) {
    this.file = file;
    this.units = units;
  }

  /**
   * Go on with a journal, or begin one.
   * @param units of the whole study
   * @throws InputError if it is another study's: which settings differ
   */
  static open(path: string, identity: unknown, units: WorkUnits): UnitJournal {
    return UnitJournal.load(JournalFile.open(path, identity, { syncEvery: syncMilliseconds }), units);
  }

  /** Take over an open file and learn what is in it. @throws InputError for a line that no study has written */
  static load(file: JournalFile, units: WorkUnits): UnitJournal {
    const journal = new UnitJournal(file, units);
    try {
      for (const line of file.lines()) journal.know(line);
      return journal;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  has(unit: number): boolean {
    return this.places.has(unit);
  }

  /** Write a unit that has been finished. */
  append(result: UnitResult): void {
    const { offset, bytes } = this.file.append(result);
    if (result.kind === 'gates') this.gates.set(result.group, result);
    else this.place(result.unit, offset, bytes, result.summary.flips.length);
  }

  /**
   * Do something with a finished unit.
   * @param prompt id of its prompt
   * @throws InputError if its line is not one, or if nothing can be done with it: it was changed
   */
  use(unit: number, prompt: string, each: (found: PromptUnit) => void): void {
    const place = this.places.get(unit);
    if (place === undefined) throw new Error(`unit ${unit} is not in ${this.file.path}`);
    const found = this.checked(() => parseUnit(this.file.read(place)), `unit ${unit}`);
    const at = this.units.at(unit);
    const isOwn =
      found.kind === 'prompt' &&
      found.unit === unit &&
      found.summary.condition === at.condition &&
      found.summary.index === at.prompt &&
      found.summary.prompt === prompt;
    if (!isOwn) throw this.foreign(`unit ${unit}`);
    this.checked(() => each(found), `unit ${unit}`);
  }

  /** @throws RunError if another process has taken the journal over */
  requireOwned(): void {
    this.file.requireOwned();
  }

  get path(): string {
    return this.file.path;
  }

  close(): void {
    this.file.close();
  }

  remove(): void {
    this.file.remove();
  }

  private know({ value, offset, bytes }: JournalLine): void {
    const where = `the line at byte ${offset}`;
    const head = this.checked(() => unitHead.parse(value), where);
    if (head.kind === 'gates') {
      const unit = this.checked(() => parseUnit(value), where);
      if (unit.kind === 'gates') this.gates.set(unit.group, unit);
      return;
    }
    if (head.unit >= this.units.count) throw this.foreign(where);
    if (!this.has(head.unit)) this.place(head.unit, offset, bytes, head.summary.flips.length);
  }

  private place(unit: number, offset: number, bytes: number, flips: number): void {
    this.places.set(unit, { offset, bytes });
    this.finished += 1;
    this.flips += flips;
  }

  private checked<T>(parse: () => T, where: string): T {
    try {
      return parse();
    } catch (error) {
      if (error instanceof KvlensError) throw error;
      throw this.foreign(where);
    }
  }

  private foreign(where: string): InputError {
    return new InputError(`${this.file.path}: ${where} is not what a study writes`, 'remove the folder and run again');
  }
}
