/**
 * The cache that Hugging Face's tools share, so that nothing is downloaded twice:
 * `models--ORG--NAME/{blobs/DIGEST, snapshots/COMMIT/FILE → ../../blobs/DIGEST, refs/REVISION}`.
 */
import { lstatSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { makeFolder } from '../store/files.ts';
import type { RemoteFile } from './content.ts';
import type { Destination, Matches } from './destination.ts';
import { isCommit } from './repository.ts';

export interface HubCacheOptions {
  /** Folder of all repositories. */
  cache: string;
  repository: string;
  revision: string;
  commit: string;
  /** Read blobs that are there already and compare their digests; otherwise their size must do. */
  verify: boolean;
  matches: Matches;
}

/** A snapshot in the shared cache. */
export function hubCache({ cache, repository, revision, commit, verify, matches }: HubCacheOptions): Destination {
  const root = join(cache, `models--${repository.replace('/', '--')}`);
  const folder = join(root, 'snapshots', commit);
  const blob = ({ digest }: RemoteFile) => join(root, 'blobs', digest);
  const isWhole = async (file: RemoteFile) => {
    const status = statSync(blob(file), { throwIfNoEntry: false });
    return status?.isFile() === true && status.size === file.bytes && (!verify || (await matches(blob(file), file)));
  };
  return {
    folder,
    has: async (file) => {
      const path = join(folder, file.name);
      // Where links are not possible, Hugging Face's tools put the file itself there.
      if (lstatSync(path, { throwIfNoEntry: false })?.isFile()) {
        if (await matches(path, file)) return true;
        throw new InputError(
          `${path}: differs from ${repository}, expected ${file.algorithm} ${file.digest}`,
          'remove it',
        );
      }
      if (!(await isWhole(file))) return false;
      link(join('..', '..', 'blobs', file.digest), path);
      return true;
    },
    // The name Hugging Face's client gives it, too. What is no whole blob is replaced: its name is its content's digest.
    partial: (file) => `${blob(file)}.incomplete`,
    publish: (file) => {
      renameOnce(`${blob(file)}.incomplete`, blob(file));
      link(join('..', '..', 'blobs', file.digest), join(folder, file.name));
    },
    finish: () => {
      if (isCommit(revision)) return;
      const ref = join(root, 'refs', ...revision.split('/'));
      makeFolder(dirname(ref));
      const written = join(dirname(ref), `.${basename(ref)}.${process.pid}`);
      writeFileSync(written, commit);
      renameSync(written, ref);
    },
  };
}

/** Another run that pulls the same file may have been faster. */
function renameOnce(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || !statSync(to, { throwIfNoEntry: false })) throw error;
  }
}

function link(target: string, path: string): void {
  makeFolder(dirname(path));
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isSymbolicLink() && readlinkSync(path) === target) return;
  // A link to another blob is one of an older listing.
  if (there?.isSymbolicLink()) rmSync(path);
  try {
    symlinkSync(target, path);
  } catch (error) {
    if (errorCode(error) === 'EEXIST' && lstatSync(path).isSymbolicLink()) return;
    if (errorCode(error) !== 'EPERM') throw error;
    throw new InputError(`${path}: the system makes no symbolic links here`, 'use --to DIR for plain files');
  }
}
