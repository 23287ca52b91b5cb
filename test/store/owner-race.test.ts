/** Another process takes the file between looking and taking: it is not replaced. */
import { spawn } from 'node:child_process';
import { linkSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { Owner } from '../../src/store/owner.ts';
import { temporaryFolder } from './folder.ts';

vi.mock('node:fs', async (original) => {
  const found = await original<{ linkSync: typeof linkSync }>();
  return { ...found, linkSync: vi.fn(found.linkSync) };
});

const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
afterAll(() => other.kill('SIGKILL'));

test('the quicker one keeps it, and the other is refused', () => {
  const path = join(temporaryFolder(), 'journal.jsonl');
  const file = join(dirname(path), '.journal.jsonl.owner');
  const own = Owner.take(path);
  const holder = {
    ...(JSON.parse(readFileSync(file, 'utf8')) as object),
    pid: other.pid,
    started: null,
    token: 'theirs',
  };
  own.release();

  vi.mocked(linkSync).mockImplementationOnce(() => {
    writeFileSync(file, JSON.stringify(holder));
    throw Object.assign(new Error('EEXIST'), { code: 'EEXIST' });
  });
  expect(() => Owner.take(path)).toThrow(InputError);
  expect(readFileSync(file, 'utf8')).toBe(JSON.stringify(holder));
  expect(readdirSync(dirname(path))).toEqual(['.journal.jsonl.owner']);
});

test('where files cannot be linked, it is named all the same', () => {
  const path = join(temporaryFolder(), 'journal.jsonl');
  vi.mocked(linkSync).mockImplementationOnce(() => {
    throw Object.assign(new Error('EPERM'), { code: 'EPERM' });
  });
  const own = Owner.take(path);
  expect(own.isCurrent()).toBe(true);
  expect(readdirSync(dirname(path))).toEqual(['.journal.jsonl.owner']);
});
