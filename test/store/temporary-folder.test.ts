/** A folder for a moment is gone whatever happens in it, and a place that cannot hold one is named. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { inTemporaryFolder, isFull } from '../../src/store/temporary-folder.ts';
import { temporaryFolder } from './folder.ts';

const root = temporaryFolder();
afterEach(() => vi.unstubAllEnvs());

test('the folder is there for the work, in TMPDIR, and gone after it', async () => {
  vi.stubEnv('TMPDIR', root);
  const seen = await inTemporaryFolder('a test writes', async (folder) => {
    writeFileSync(join(folder, 'a'), 'a');
    expect(readdirSync(root).map((name) => join(root, name))).toEqual([folder]);
    return folder;
  });
  expect(existsSync(seen)).toBe(false);
});

test('an error of the work is what is thrown, and the folder is gone', async () => {
  vi.stubEnv('TMPDIR', root);
  const broken = new Error('broken');
  await expect(inTemporaryFolder('a test writes', () => Promise.reject(broken))).rejects.toBe(broken);
  expect(readdirSync(root)).toEqual([]);
});

describe('a place that cannot hold a folder is refused by its name, with the cause and what to do', () => {
  const refusal = async (path: string, cause: string) => {
    vi.stubEnv('TMPDIR', path);
    const error: unknown = await inTemporaryFolder('a test writes', async () => 0).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(InputError);
    expect(error).toMatchObject({
      message: `${path}: ${cause}`,
      hint: 'a test writes there for a moment: free some space, or set TMPDIR to another folder',
    });
  };

  test('that does not exist', () => refusal(join(root, 'none'), 'cannot be written (the folder does not exist)'));

  test('that is a file', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    await refusal(file, 'cannot be written (a part of the path is a file)');
  });

  test('that is a link to itself', async () => {
    const link = join(temporaryFolder(), 'link');
    symlinkSync(link, link);
    await refusal(link, 'cannot be written (too many symbolic links)');
  });
});

/** Disks of their own: these need the right to mount. */
const mounts: string[] = [];
afterAll(() => {
  for (const at of mounts) execFileSync('umount', [at]);
});
function mounted(options: string): string | null {
  const at = join(temporaryFolder(), 'disk');
  mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', at], { stdio: 'ignore' });
  } catch {
    return null;
  }
  mounts.push(at);
  return at;
}
const few = mounted('size=8m,nr_inodes=2');
const readOnly = mounted('size=8m,ro');
if (few === null) console.log('skipped: disks that are read-only or lack inodes (a tmpfs cannot be mounted here)');

test.skipIf(few === null)('a disk without inodes is full, before the work and in it', async () => {
  vi.stubEnv('TMPDIR', few ?? '');
  const written = inTemporaryFolder('a test writes', async (folder) => writeFileSync(join(folder, 'a'), 'a'));
  await expect(written).rejects.toThrow(`${few}: the disk is full`);
  await expect(written).rejects.toThrow(InputError);
  mkdirSync(join(few ?? '', 'last'));
  await expect(inTemporaryFolder('a test writes', async () => 0)).rejects.toThrow(`${few}: the disk is full`);
});

test.skipIf(readOnly === null)('a read-only disk is one', async () => {
  vi.stubEnv('TMPDIR', readOnly ?? '');
  const refused = inTemporaryFolder('a test writes', async () => 0);
  await expect(refused).rejects.toThrow(`${readOnly}: cannot be written (read-only file system)`);
  await expect(refused).rejects.toThrow(InputError);
});

test.each([
  ['room', { bavail: 1 << 20, files: 10, ffree: 1 }, false],
  ['too few bytes', { bavail: 100, files: 10, ffree: 5 }, true],
  ['no inode', { bavail: 1 << 20, files: 10, ffree: 0 }, true],
  ['inodes that are not counted', { bavail: 1 << 20, files: 0, ffree: 0 }, false],
])('a disk with %s', (_, found, full) => {
  expect(isFull({ bsize: 4096, ...found })).toBe(full);
});
