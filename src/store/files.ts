/** Files that appear under their final name only when complete, and plain words for what a file system can refuse. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { InputError } from '../errors.ts';

/** A file being written beside its final place. */
export class PartialFile {
  readonly path: string;
  private readonly temporary: string;
  private descriptor: number | undefined;

  constructor(path: string) {
    this.path = path;
    this.temporary = join(dirname(path), `.${basename(path)}.partial`);
    this.descriptor = guard(path, () => openSync(this.temporary, 'w'));
  }

  /** Append bytes. @throws InputError when the disk is full; what was written is removed then. */
  write(bytes: Uint8Array): void {
    this.attempt(() => {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(this.handle(), bytes, written, bytes.length - written);
      }
    });
  }

  /** Append the content of another file. */
  copyFrom(source: string): void {
    const from = guard(source, () => openSync(source, 'r'));
    try {
      const chunk = new Uint8Array(1 << 20);
      for (let size = readSync(from, chunk); size > 0; size = readSync(from, chunk))
        this.write(chunk.subarray(0, size));
    } finally {
      closeSync(from);
    }
  }

  /** Bring everything written to the disk, which may turn out to be full. */
  sync(): void {
    this.attempt(() => fsyncSync(this.handle()));
  }

  /** Flush, then give the file its final name. */
  publish(): void {
    this.attempt(() => {
      fsyncSync(this.handle());
      closeSync(this.handle());
      this.descriptor = undefined;
      renameSync(this.temporary, this.path);
    });
  }

  /** Remove what was written. */
  abort(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
    rmSync(this.temporary, { force: true });
  }

  private attempt(operation: () => void): void {
    try {
      guard(this.path, operation);
    } catch (error) {
      this.abort();
      throw error;
    }
  }

  private handle(): number {
    if (this.descriptor === undefined) throw new Error(`${this.path} is already closed`);
    return this.descriptor;
  }
}

/** Run a file operation, turning the system's refusals into one clear line. */
export function guard<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new InputError(
        `${path}: the disk is full`,
        'free some space and run again; nothing incomplete was published',
      );
    }
    const reasons: Record<string, string> = {
      EACCES: 'permission denied',
      EPERM: 'permission denied',
      EROFS: 'read-only file system',
      ENOTDIR: 'a part of the path is a file',
      ENOENT: 'the folder does not exist',
      EISDIR: 'is a folder',
      ERR_FS_EISDIR: 'is a folder',
      ELOOP: 'too many symbolic links',
      ENAMETOOLONG: 'the name is too long',
      EFBIG: 'the file would exceed the size limit',
    };
    if (code in reasons) throw new InputError(`${path}: cannot be written (${reasons[code]})`, 'choose another folder');
    throw error;
  }
}

/** Make a folder for results. @throws InputError if it exists and is not empty, is a file, or cannot be written. */
export function prepareFolder(path: string): void {
  const exists = guard(path, () => existsSync(path));
  if (exists && !statSync(path).isDirectory()) {
    throw new InputError(`--out ${path}: is a file, expected a folder that does not exist or is empty`);
  }
  if (exists && guard(path, () => readdirSync(path)).length > 0) {
    throw new InputError(`--out ${path}: the folder is not empty`, 'choose another folder, or remove this one');
  }
  makeFolder(path);
}

/** Make a folder and its parents, one by one: Node's own recursion never ends where the system makes no folders (/proc). */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const folder of missing) guard(path, () => makeOne(folder));
}

/** Several processes may make the folder that is above all of theirs. */
function makeOne(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if (!existsSync(folder) || !statSync(folder).isDirectory()) throw error;
  }
}
