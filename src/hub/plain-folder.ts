/** `--to DIR`: plain files. A file that is there is never overwritten: it has the listed content, or the pull is refused. */
import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { showName } from '../checkpoint/show.ts';
import { InputError } from '../errors.ts';
import type { RemoteFile } from './content.ts';
import type { Destination, Matches } from './destination.ts';

export interface PlainFolderOptions {
  dir: string;
  repository: string;
  /** Everything at the top of the repository. */
  names: ReadonlySet<string>;
  matches: Matches;
}

/** What an interrupted run leaves; the digest keeps the bytes of two versions apart. */
const partialPattern = /^\..+\.[0-9a-f]{40,64}\.incomplete$/;
/** What Hugging Face's tools leave in a folder they download to. */
const ownedByOthers = '.cache';

/** @throws InputError if DIR is a file, or holds what is not of this repository. */
export function plainFolder({ dir, repository, names, matches }: PlainFolderOptions): Destination {
  if (existsSync(dir) && !statSync(dir).isDirectory()) {
    throw new InputError(`--to ${dir}: is a file, expected a folder`);
  }
  const stray = existing(dir).find((name) => !names.has(name) && !partialPattern.test(name) && name !== ownedByOthers);
  if (stray !== undefined) {
    throw new InputError(
      `--to ${dir}: holds ${showName(stray)}, which is not a file of ${repository}`,
      'choose another folder',
    );
  }
  const partial = ({ name, digest }: RemoteFile) => join(dir, `.${name}.${digest}.incomplete`);
  return {
    folder: dir,
    has: async (file) => {
      const path = join(dir, file.name);
      const status = lstatSync(path, { throwIfNoEntry: false });
      if (!status) return false;
      if (status.isFile() && status.size === file.bytes && (await matches(path, file))) return true;
      const found = status.isFile() ? `${status.size} bytes` : 'no plain file';
      throw new InputError(
        `--to ${dir}: ${file.name} differs from ${repository} (found ${found}, expected ${file.bytes} bytes with ${file.algorithm} ${file.digest})`,
        'choose another folder, or remove the file',
      );
    },
    partial,
    publish: (file) => renameSync(partial(file), join(dir, file.name)),
    finish: () => {
      for (const name of existing(dir)) if (partialPattern.test(name)) rmSync(join(dir, name));
    },
  };
}

function existing(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}
