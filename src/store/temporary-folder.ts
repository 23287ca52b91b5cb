/** A folder for what is needed for a moment, in the system's place for such things (TMPDIR). */
import { mkdtempSync, rmSync, type StatsFs, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { guard } from './files.ts';

/** Below so many bytes a disk counts as full. */
const leastFree = 1 << 20;

/**
 * Do some work in a new folder, which is gone afterwards.
 * @param purpose what is written there, for errors: `gate provenance writes graphs`
 * @throws InputError that names the system's folder, if it cannot be written or has no room; else what the work throws
 */
export async function inTemporaryFolder<T>(purpose: string, work: (folder: string) => Promise<T>): Promise<T> {
  const root = tmpdir();
  const refusal = (message: string) =>
    new InputError(message, `${purpose} there for a moment: free some space, or set TMPDIR to another folder`);
  let folder: string;
  try {
    folder = guard(root, () => mkdtempSync(join(root, 'kvlens-')));
  } catch (error) {
    throw error instanceof InputError ? refusal(error.message) : error;
  }
  try {
    return await work(folder);
  } catch (error) {
    // A runtime says of a full disk only that it cannot write a file.
    throw isFull(guard(folder, () => statfsSync(folder))) ? refusal(`${root}: the disk is full`) : error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** No room for another file: too few bytes, or no inode. Some file systems count no inodes, and say 0 of 0. */
export function isFull({
  bavail,
  bsize,
  files,
  ffree,
}: Pick<StatsFs, 'bavail' | 'bsize' | 'files' | 'ffree'>): boolean {
  return bavail * bsize < leastFree || (files > 0 && ffree === 0);
}
