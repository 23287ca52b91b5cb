/** A run's folder: tables, activations, controls and the manifest, published whole – the manifest last. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '../errors.ts';
import { type ActivationFileOptions, type ActivationRow, ActivationWriter } from './activation-writer.ts';
import { type Dictionaries, TableWriter } from './arrow-writer.ts';
import { guard, makeFolder, PartialFile, prepareFolder } from './files.ts';
import { hasJournal } from './journal.ts';
import { schemaVersion, type TableName } from './schemas.ts';

export interface RunDirectoryOptions {
  /** Folder of the run; default `kvlens-runs/<command>-<model>-<n>`. */
  out?: string;
  command: string;
  model: string;
  /** Go on with the unfinished run in `out`, if there is one. */
  resume?: boolean;
}

/** What a run is (equal for identical runs) and where it came from. */
export interface Manifest {
  schemaVersion: number;
  /** Resolved configuration, versions and digests: no paths, no times. */
  identity: Record<string, unknown>;
  /** Command line, paths, times, host, rows per file. */
  provenance: Record<string, unknown>;
}

interface Publishable {
  publish(): void;
  abort(): void;
}

/** A writer that has a footer to write before its file is complete. */
interface Closable extends Publishable {
  finish(): void;
}

/** An open run. Nothing appears under a final name before `publish`, except what `writeJson` publishes by itself. */
export class RunDirectory {
  readonly path: string;
  private readonly open: Closable[] = [];
  private readonly activationFiles = new Map<string, ActivationWriter>();
  /** Files published so far, relative to the run. */
  readonly files: string[] = [];
  readonly rows: Record<string, number> = {};

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Create the folder. @throws InputError if it exists and is not empty, or cannot be written.
   */
  static create({ out, command, model, resume = false }: RunDirectoryOptions): RunDirectory {
    if (resume && out !== undefined && hasJournal(out)) return new RunDirectory(out);
    if (resume && out !== undefined && existsSync(join(out, 'manifest.json'))) {
      throw new InputError(
        `--resume: ${out} holds a finished run`,
        'there is nothing left to do; choose another --out',
      );
    }
    if (out !== undefined) {
      prepareFolder(out);
      return new RunDirectory(out);
    }
    guard('kvlens-runs', () => mkdirSync('kvlens-runs', { recursive: true }));
    for (let n = 1; ; n++) {
      const path = join('kvlens-runs', `${command}-${pathPart(model)}-${n}`);
      if (guard(path, () => isNewFolder(path))) return new RunDirectory(path);
    }
  }

  /** A table of the contract; `dictionaries` declares the values of its text columns. */
  table<T extends TableName>(name: T, identity: unknown, dictionaries: Dictionaries): TableWriter<T> {
    const writer = new TableWriter(join(this.path, `${name}.arrow`), name, identity, dictionaries);
    this.open.push(writer);
    this.files.push(`${name}.arrow`);
    return writer;
  }

  /** Add a captured row to `activations/KIND.arrow`; the file's options are taken from its first row. */
  addActivation(kind: string, options: () => ActivationFileOptions, row: ActivationRow): void {
    let writer = this.activationFiles.get(kind);
    if (!writer) {
      const folder = join(this.path, 'activations');
      guard(folder, () => mkdirSync(folder, { recursive: true }));
      writer = new ActivationWriter(join(folder, `${kind}.arrow`), options());
      this.activationFiles.set(kind, writer);
      this.open.push(writer);
      this.files.push(`activations/${kind}.arrow`);
    }
    writer.add(row);
    this.rows[`activations/${kind}.arrow`] = (this.rows[`activations/${kind}.arrow`] ?? 0) + 1;
  }

  /** A copy of a file that another run published, to be published with the tables. */
  copy(name: string, source: string): void {
    const file = new PartialFile(join(this.path, name));
    this.open.push({ finish: () => file.sync(), publish: () => file.publish(), abort: () => file.abort() });
    this.files.push(name);
    file.copyFrom(source);
  }

  /** Publish every open table, then other JSON files by name, then controls.json, then the manifest. */
  publish(
    controls: unknown,
    manifest: Omit<Manifest, 'schemaVersion'>,
    others: Readonly<Record<string, unknown>> = {},
  ): void {
    // All files are complete, and on the disk, before the first one gets its name.
    for (const writer of this.open) writer.finish();
    const complete: Publishable[] = [...this.open];
    try {
      for (const [name, value] of Object.entries(others)) complete.push(this.jsonFile(name, value));
      complete.push(this.jsonFile('controls.json', controls));
      complete.push(this.jsonFile('manifest.json', { schemaVersion, ...manifest }));
      for (const file of complete) file.publish();
    } catch (error) {
      for (const file of complete) file.abort();
      throw error;
    }
    this.open.length = 0;
    this.files.push(...Object.keys(others), 'controls.json', 'manifest.json');
  }

  /** Publish one JSON file. */
  writeJson(name: string, value: unknown): void {
    this.jsonFile(name, value).publish();
    this.files.push(name);
  }

  /** Publish one text file; `name` may have a folder in it. */
  writeText(name: string, text: string): void {
    makeFolder(dirname(join(this.path, name)));
    this.textFile(name, text).publish();
    this.files.push(name);
  }

  private jsonFile(name: string, value: unknown): PartialFile {
    return this.textFile(name, `${JSON.stringify(value, null, 2)}\n`);
  }

  /** A complete file that is not yet under its name. */
  private textFile(name: string, text: string): PartialFile {
    const file = new PartialFile(join(this.path, name));
    file.write(new TextEncoder().encode(text));
    file.sync();
    return file;
  }

  /** Remove everything that is not published; an empty folder goes too. */
  abort(): void {
    for (const writer of this.open.splice(0)) writer.abort();
    for (const folder of [join(this.path, 'activations'), this.path]) {
      if (existsSync(folder) && readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
    }
  }
}

/** Make a folder; false if the name is taken, perhaps just now by another process. */
function isNewFolder(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if (existsSync(path)) return false;
    throw error;
  }
}

/** A model's name as a part of a path that no shell needs quotes for: `mini-mistral (expanded KV)` → `mini-mistral-expanded-KV`. */
function pathPart(name: string): string {
  return name.replaceAll(/[^\p{L}\p{N}._]+/gu, '-').replaceAll(/^-|-$/g, '');
}
