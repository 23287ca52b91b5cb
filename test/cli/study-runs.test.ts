/** `kvlens study` as a process: workers, signals, --resume, shards and full disks change no byte of what is found. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tinyStudy, unlike } from '../study/run/tiny-study.ts';
import { ensureBuilt, type Finished, kvlens, temporaryFolder } from './kvlens.ts';

const folder = temporaryFolder();
const env = { KVLENS_CACHE: join(folder, 'cache') };
const file = join(folder, 'study.json');
const whole = join(folder, 'whole');
writeFileSync(file, JSON.stringify(tinyStudy({ limit: 12 })));

/** A disk of its own, which can be too small. */
const disk = join(folder, 'disk');
const mounted = isMounted(disk);
afterAll(() => {
  if (mounted) execFileSync('umount', [disk]);
});
if (!mounted) console.log('skipped: a small disk that fills up (a tmpfs cannot be mounted here)');

const study = (out: string, ...more: string[]) => ['study', file, '--out', out, '--quiet', ...more];
const run = (out: string, ...more: string[]) => kvlens(study(out, ...more), { env });
const succeeded = ({ code, stderr }: Finished) => expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
beforeAll(async () => {
  ensureBuilt();
  succeeded(await run(whole, '--workers', '1'));
});

/** Run, and send a signal once the journal has so many lines. */
function interrupted(out: string, signal: NodeJS.Signals, lines: number, ...more: string[]): Promise<Finished> {
  return kvlens(study(out, ...more), {
    env,
    started: (child) => {
      const journal = join(out, 'journal.jsonl');
      const poll = setInterval(() => {
        if (!existsSync(journal) || readFileSync(journal, 'utf8').split('\n').length <= lines) return;
        clearInterval(poll);
        child.kill(signal);
      }, 5);
    },
  });
}

test('two workers write the bytes of one', async () => {
  const out = join(folder, 'workers');
  succeeded(await run(out, '--workers', '2'));
  expect(unlike(out, whole)).toEqual([]);
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends with exit code 130 and how to go on, and what goes on has the bytes of one run',
  async (signal) => {
    const out = join(folder, signal);
    const { code, stdout, stderr } = await interrupted(out, signal, 5, '--workers', '2');
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
    expect(stderr).toMatch(
      /^kvlens: interrupted after \d+ of 24 units; they are in (.+), and --resume --out \1 goes on\n$/,
    );
    expect(readdirSync(out)).toEqual(['journal.jsonl']);
    const begun = readFileSync(join(out, 'journal.jsonl'), 'utf8');

    const other = await run(out, '--resume', '--max-new-tokens', '9');
    expect(other.code).toBe(3);
    expect(other.stderr).toMatch(
      /^kvlens: --resume: .* another run's: settings\.maxNewTokens was 12, is 9\n {2}hint: /,
    );
    const shard = await run(out, '--resume', '--shard', '1/2');
    expect(shard.code).toBe(3);
    expect(shard.stderr).toMatch(/another run's: shard was nothing, is \{"index":1,"of":2\}\n/);
    expect(readFileSync(join(out, 'journal.jsonl'), 'utf8')).toBe(begun);

    succeeded(await run(out, '--resume', '--workers', '1'));
    expect(unlike(out, whole)).toEqual([]);
  },
);

test('killed, with a torn line and a part of a file left, it goes on to the bytes of one run', async () => {
  const out = join(folder, 'killed');
  expect((await interrupted(out, 'SIGKILL', 6, '--workers', '2')).code).toBe(null);
  const journal = readFileSync(join(out, 'journal.jsonl'));
  writeFileSync(join(out, 'journal.jsonl'), journal.subarray(0, journal.length - 9));
  writeFileSync(join(out, '.steps.arrow.partial'), 'ARROW1');
  copyFileSync(join(whole, 'prompts.arrow'), join(out, 'prompts.arrow'));
  succeeded(await run(out, '--resume'));
  expect(unlike(out, whole)).toEqual([]);
});

test('a finished run says the same again with --resume, and refuses other settings', async () => {
  const out = join(folder, 'finished');
  const first = await kvlens([...study(out), '--json'], { env });
  const manifest = readFileSync(join(out, 'manifest.json'));
  const again = await kvlens([...study(out), '--json', '--resume'], { env });
  expect(again).toEqual({ code: 0, stdout: first.stdout, stderr: '' });
  expect(readFileSync(join(out, 'manifest.json')).equals(manifest)).toBe(true);
  const other = await run(out, '--resume', '--max-new-tokens', '9');
  expect(other.code).toBe(3);
  expect(other.stderr).toMatch(
    /^kvlens: --resume: .* holds another finished run: settings\.maxNewTokens was 12, is 9\n/,
  );
});

test('shards, one of them interrupted, are merged to the bytes of one run', async () => {
  const shards = [1, 2, 3].map((index) => join(folder, `shard-${index}`));
  expect((await interrupted(shards[1], 'SIGTERM', 3, '--shard', '2/3')).code).toBe(130);
  const out = join(folder, 'merged');
  const merge = () => kvlens(['study', '--merge', ...shards, '--out', out, '--quiet', '--json'], { env });
  const early = await merge();
  expect(early.code).toBe(3);
  expect(early.stderr).toMatch(/^kvlens: --merge: .*shard-1 holds no shard\n/);
  for (const [i, shard] of shards.entries()) succeeded(await run(shard, '--shard', `${i + 1}/3`, '--resume'));
  const merged = await merge();
  succeeded(merged);
  expect(unlike(out, whole)).toEqual([]);
  const again = await kvlens([...study(out), '--json', '--resume'], { env });
  expect(again.stdout).toBe(merged.stdout);
});

test('two processes on one folder: the second is refused, and the first is not disturbed', async () => {
  const out = join(folder, 'both');
  let second: Promise<Finished> | undefined;
  const first = await kvlens(study(out, '--workers', '1'), {
    env,
    started: (child) => {
      const poll = setInterval(() => {
        if (!existsSync(join(out, '.journal.jsonl.owner'))) return;
        clearInterval(poll);
        child.kill('SIGSTOP');
        second = run(out, '--resume').finally(() => child.kill('SIGCONT'));
      }, 5);
    },
  });
  succeeded(first);
  const refused = await second;
  expect(refused?.code).toBe(3);
  expect(refused?.stderr).toMatch(
    /^kvlens: .*both: another process is at work here \(process \d+ on .+\)\n {2}hint: wait/,
  );
  expect(unlike(out, whole)).toEqual([]);
});

describe('a full disk', () => {
  const fullDisk = (out: string) =>
    new RegExp(
      `^kvlens: ${out}/[\\w.]+: the disk is full\n {2}hint: free some space .*--resume --out ${out} goes on with what is finished\n$`,
    );

  test.skipIf(!existsSync('/dev/full'))(
    'while the files are written: nothing is published, and it goes on',
    async () => {
      const out = join(folder, 'full');
      expect((await interrupted(out, 'SIGINT', 5)).code).toBe(130);
      symlinkSync('/dev/full', join(out, '.steps.arrow.partial'));
      const { code, stderr } = await run(out, '--resume');
      expect(code).toBe(3);
      expect(stderr).toMatch(fullDisk(out));
      expect(readdirSync(out)).toEqual(['journal.jsonl']);
      succeeded(await run(out, '--resume'));
      expect(unlike(out, whole)).toEqual([]);
    },
  );

  test.skipIf(!mounted)(
    'while units are journalled, and then while files are: it goes on once there is space',
    async () => {
      const resize = (bytes: number) =>
        execFileSync('mount', ['-o', `remount,size=${Math.ceil(bytes / 1024)}k`, disk], { stdio: 'ignore' });
      const shard = join(folder, 'sizes');
      succeeded(await run(shard, '--shard', '1/1'));
      const journal = statSync(join(shard, 'units.jsonl')).size;
      const tables = readdirSync(whole).reduce((sum, name) => sum + statSync(join(whole, name)).size, 0);

      const out = join(disk, 'run');
      resize(journal / 2);
      const first = await run(out, '--workers', '2');
      expect(first.code).toBe(3);
      expect(first.stderr).toMatch(fullDisk(out));
      expect(readdirSync(out)).toEqual(['journal.jsonl']);
      const kept = readFileSync(join(out, 'journal.jsonl'), 'utf8').split('\n').length;
      expect(kept).toBeGreaterThan(4);

      // Still full: not even the owner's note fits, or the next unit does not.
      expect((await run(out, '--resume')).stderr).toMatch(/^kvlens: .*: the disk is full\n/);
      resize(journal + tables / 2);
      const second = await run(out, '--resume');
      expect(second.code).toBe(3);
      expect(second.stderr).toMatch(fullDisk(out));
      expect(readdirSync(out)).toEqual(['journal.jsonl']);

      resize(journal + 2 * tables);
      succeeded(await run(out, '--resume'));
      expect(unlike(out, whole)).toEqual([]);
    },
  );
});

test.skipIf(!mounted)('a full folder for temporary files is named, with what to do', async () => {
  const out = join(folder, 'no-room');
  const full = join(disk, 'filling');
  rmSync(join(disk, 'run'), { recursive: true, force: true });
  execFileSync('mount', ['-o', 'remount,size=64k', disk], { stdio: 'ignore' });
  writeFileSync(full, Buffer.alloc(56 * 1024));
  const { code, stderr } = await kvlens(study(out), { env: { ...env, TMPDIR: disk } });
  expect(stderr).toMatch(
    new RegExp(
      `^kvlens: ${disk}: the disk is full\n {2}hint: gate provenance .* TMPDIR .*--resume --out ${out} goes on`,
    ),
  );
  expect(code).toBe(3);
  rmSync(full);
});

test('a folder for temporary files that is none is named, with what to do', async () => {
  const none = join(folder, 'no-such-folder');
  const out = join(folder, 'no-temporary');
  const { code, stderr } = await kvlens(study(out), { env: { ...env, TMPDIR: none } });
  expect(stderr).toMatch(
    new RegExp(
      `^kvlens: ${none}: cannot be written \\(the folder does not exist\\)\n {2}hint: gate provenance .* TMPDIR .*--resume --out ${out} goes on`,
    ),
  );
  expect(code).toBe(3);
});

/** True if a small tmpfs could be mounted there: it takes root. */
function isMounted(at: string): boolean {
  mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
