/** One process at a time: a live one keeps others out, a dead one does not, and one that lost its file writes no more. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { InputError, RunError } from '../../src/errors.ts';
import { JournalFile } from '../../src/store/journal-file.ts';
import { Owner } from '../../src/store/owner.ts';
import { ensureBuilt } from '../cli/kvlens.ts';
import { temporaryFolder } from './folder.ts';

const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});
const path = () => join(temporaryFolder(), 'journal.jsonl');
const beside = (of: string) => of.replace(/journal\.jsonl$/, '.journal.jsonl.owner');
const holderOf = (of: string): Record<string, unknown> => JSON.parse(readFileSync(beside(of), 'utf8'));
const change = (of: string, by: Record<string, unknown>) =>
  writeFileSync(beside(of), JSON.stringify({ ...holderOf(of), ...by }));

/** Another process, which waits. */
async function another(): Promise<{ pid: number; end: () => Promise<void> }> {
  const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async () => {
    child.kill('SIGKILL');
    await closed;
  };
  return { pid: child.pid ?? 0, end };
}

/** As proc(5) has it. */
function startOf(pid: number): string | null {
  if (!existsSync('/proc/self/stat')) return null;
  return readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')[19];
}

test('a live process keeps others out until it has ended', async () => {
  const at = path();
  Owner.take(at);
  const { pid, end } = await another();
  change(at, { pid, started: startOf(pid) });
  expect(() => Owner.take(at)).toThrow(InputError);
  expect(() => Owner.take(at)).toThrow(new RegExp(`another process is at work here \\(process ${pid} on .+\\)$`));
  expect(() => JournalFile.open(at, {})).toThrow(/another process is at work here/);
  await end();
  Owner.take(at).release();
  expect(readdirSync(join(at, '..')).sort()).toEqual(['journal.jsonl']);
});

test.skipIf(startOf(process.pid) === null)(
  'a process of the same number, started at another time, is not it',
  async () => {
    const at = path();
    Owner.take(at);
    const { pid, end } = await another();
    change(at, { pid, started: '1' });
    expect(() => Owner.take(at)).not.toThrow();
    await end();
  },
);

test('where another machine may still write, the newer process takes over, and the older one writes no more', () => {
  const at = path();
  const older = JournalFile.open(at, { a: 1 });
  older.append(1);
  change(at, { boot: 'another kernel', host: 'node-7', pid: process.ppid });
  const newer = JournalFile.open(at, { a: 1 });
  expect([...newer.lines()].map(({ value }) => value)).toEqual([1]);
  const before = readFileSync(at);
  expect(() => older.append(2)).toThrow(RunError);
  expect(() => older.append(2)).toThrow(/journal\.jsonl: was taken over by process \d+ on .+; this process ends/);
  older.remove();
  expect(readFileSync(at).equals(before)).toBe(true);
  newer.append(3);
  newer.remove();
  expect(readdirSync(join(at, '..'))).toEqual([]);
});

test('a folder that was removed under way is noticed before the next write', () => {
  const at = path();
  const owner = Owner.take(at);
  expect(() => owner.require()).not.toThrow();
  owner.release();
  expect(() => owner.require()).toThrow(/was taken over, or was removed; this process ends/);
});

test.each(['', '{', '{"pid":1}', 'null'])('%j in place of an owner is nobody', (content) => {
  const at = path();
  writeFileSync(beside(at), content);
  const owner = Owner.take(at);
  expect(owner.isCurrent()).toBe(true);
  owner.release();
});

test('a draft that a killed process left is removed by the next owner', () => {
  const at = path();
  writeFileSync(`${beside(at)}.left`, '{');
  Owner.take(at).release();
  expect(readdirSync(join(at, '..'))).toEqual([]);
});

test('of processes that start at once, one has the file', async () => {
  ensureBuilt();
  const at = path();
  const script = `
    import { Owner } from ${JSON.stringify(new URL('../../dist/store/owner.js', import.meta.url).href)};
    process.stdin.once('data', () => {
      try { Owner.take(${JSON.stringify(at)}); console.log('taken'); } catch (error) { console.log(error.message); }
      setInterval(() => {}, 1000);
    });
    console.log('ready');`;
  const processes = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      children.push(child);
      await new Promise((resolve) => child.stdout.once('data', resolve));
      return child;
    }),
  );
  const said = processes.map(
    (child) => new Promise((resolve) => child.stdout.once('data', (data) => resolve(String(data)))),
  );
  for (const child of processes) child.stdin.write('go');
  const answers = await Promise.all(said);
  expect(answers.filter((answer) => answer !== 'taken\n')).toHaveLength(5);
  const held = holderOf(at).pid;
  expect(processes.find((_, i) => answers[i] === 'taken\n')?.pid).toBe(held);
});

test('a folder where the owner’s note should be is refused in one line, and left there', () => {
  const at = path();
  mkdirSync(beside(at));
  expect(() => Owner.take(at)).toThrow(InputError);
  expect(() => Owner.take(at)).toThrow(/\.journal\.jsonl\.owner: cannot be written \(is a folder\)$/);
  expect(readdirSync(join(at, '..'))).toEqual(['.journal.jsonl.owner']);
});
