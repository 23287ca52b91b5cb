/** A file appears under its final name when it is complete, and not before. */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { PartialFile } from '../../src/store/files.ts';
import { temporaryFolder } from './folder.ts';

const root = temporaryFolder();
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, `case-${count++}`);
  mkdirSync(folder);
});
const bytes = (text: string) => new TextEncoder().encode(text);

test('nothing has the final name until publish', () => {
  const path = join(folder, 'steps.arrow');
  const file = new PartialFile(path);
  file.write(bytes('one '));
  file.write(bytes('two'));
  expect(existsSync(path)).toBe(false);
  file.publish();
  expect(readFileSync(path, 'utf8')).toBe('one two');
  expect(readdirSync(folder)).toEqual(['steps.arrow']);
});

test('abort leaves nothing, whenever it comes', () => {
  const before = new PartialFile(join(folder, 'a'));
  before.abort();
  const after = new PartialFile(join(folder, 'b'));
  after.write(bytes('half'));
  after.abort();
  after.abort();
  expect(readdirSync(folder)).toEqual([]);
});

test('abort after publish keeps the file', () => {
  const file = new PartialFile(join(folder, 'a'));
  file.write(bytes('whole'));
  file.publish();
  file.abort();
  expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('whole');
});

test('an older file keeps its content until the new one is complete', () => {
  writeFileSync(join(folder, 'a'), 'old');
  const file = new PartialFile(join(folder, 'a'));
  file.write(bytes('new'));
  expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('old');
  file.publish();
  expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('new');
});

test('what a killed run left half-written is written over', () => {
  writeFileSync(join(folder, '.a.partial'), 'a much longer half');
  const file = new PartialFile(join(folder, 'a'));
  file.write(bytes('new'));
  file.publish();
  expect(readFileSync(join(folder, 'a'), 'utf8')).toBe('new');
});

/** What an operation throws. */
function failure(operation: () => void): unknown {
  try {
    operation();
  } catch (error) {
    return error;
  }
  return null;
}

describe('what a file system can refuse is one line', () => {
  test.each([
    ['a folder that is not there', 'gone/a', /cannot be written \(the folder does not exist\)/],
    ['a file as folder', 'file/a', /cannot be written \(a part of the path is a file\)/],
    ['a name that is too long', 'x'.repeat(300), /cannot be written \(the name is too long\)/],
  ])('%s', (_, name, says) => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => new PartialFile(join(folder, name))).toThrow(InputError);
    expect(() => new PartialFile(join(folder, name))).toThrow(says);
  });

  test('a folder under the final name', () => {
    mkdirSync(join(folder, 'a'));
    const file = new PartialFile(join(folder, 'a'));
    expect(() => file.publish()).toThrow(/cannot be written \(is a folder\)/);
    file.abort();
    expect(readdirSync(folder)).toEqual(['a']);
  });

  /** The kernel's own full disk: every write to it fails. The partial file is a link to it. */
  test.skipIf(!existsSync('/dev/full'))('a full disk', () => {
    symlinkSync('/dev/full', join(folder, '.a.partial'));
    const file = new PartialFile(join(folder, 'a'));
    const error = failure(() => file.write(bytes('x')));
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toMatch(/a: the disk is full$/);
    file.abort();
    expect(readdirSync(folder)).toEqual([]);
  });
});

afterEach(() => expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]));
