/**
 * Which process is at work on a file: one at a time. A live process of this machine keeps others out. Whether one of another
 * machine still lives cannot be known, and a batch system may have given its work to this one: the newer process takes over,
 * and the older one, should it still be there, ends before its next write.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { InputError, RunError } from '../errors.ts';
import { guard } from './files.ts';

const holderSchema = z.strictObject({
  token: z.string(),
  host: z.string(),
  /** Of the kernel since it was started: process numbers mean something in it alone. */
  boot: z.string(),
  pid: z.int(),
  /** When the process was started, in the kernel's ticks: numbers are used again. Null where the system does not tell. */
  started: z.string().nullable(),
});
type Holder = z.output<typeof holderSchema>;

export class Owner {
  private readonly path: string;
  private readonly file: string;
  private readonly token: string;

  private constructor(path: string, file: string, token: string) {
    this.path = path;
    this.file = file;
    this.token = token;
  }

  /**
   * Take a file over: a small one beside it says so until `release`.
   * @throws InputError if another live process of this machine is at work on it
   */
  static take(path: string): Owner {
    const file = join(dirname(path), `.${basename(path)}.owner`);
    const own: Holder = {
      ...{ token: randomUUID(), host: hostname(), boot: bootId(), pid: process.pid },
      started: startOf(process.pid)?.time ?? null,
    };
    const draft = `${file}.${own.token}`;
    try {
      do {
        const left = existsSync(file);
        const found = read(file);
        if (found && isAtWork(found)) {
          throw new InputError(
            `${dirname(path)}: another process is at work here (process ${found.pid} on ${found.host})`,
            'wait until it has ended, or choose another --out',
          );
        }
        guard(file, () => {
          if (left) rmSync(file, { force: true });
          writeFileSync(draft, JSON.stringify(own));
        });
      } while (!guard(file, () => appear(draft, file)));
    } finally {
      rmSync(draft, { force: true });
    }
    removeDrafts(file);
    return new Owner(path, file, own.token);
  }

  /** False once another process has taken the file over. */
  isCurrent(): boolean {
    return read(this.file)?.token === this.token;
  }

  /** @throws RunError if another process has taken the file over since */
  require(): void {
    if (this.isCurrent()) return;
    const holder = read(this.file);
    const by = holder ? ` by process ${holder.pid} on ${holder.host}` : ', or was removed';
    throw new RunError(`${this.path}: was taken over${by}; this process ends, and has changed nothing since`);
  }

  /** Let others have it. */
  release(): void {
    if (this.isCurrent()) rmSync(this.file, { force: true });
  }
}

/**
 * Give a complete draft its name: nobody finds half of an owner, and of two processes one has it.
 * @returns false if another process was quicker, or is the owner by now and has removed the draft
 */
function appear(draft: string, file: string): boolean {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') throw error;
    // A file system without hard links.
    renameSync(draft, file);
    return true;
  }
}

/** Drafts of processes that were killed before they had the file. */
function removeDrafts(file: string): void {
  const folder = dirname(file);
  for (const name of readdirSync(folder)) {
    if (name.startsWith(`${basename(file)}.`)) rmSync(join(folder, name), { force: true });
  }
}

/** Null where nobody is, or where writing it was cut short. */
function read(file: string): Holder | null {
  try {
    return holderSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null;
  }
}

/** True for a process of this machine, other than this one, that runs. */
function isAtWork({ boot, pid, started }: Holder): boolean {
  if (boot !== bootId() || pid === process.pid) return false;
  if (started === null) return answers(pid);
  const found = startOf(pid);
  return found !== null && found.time === started && !found.dead;
}

function answers(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** When a process was started; dead: it has ended, and nobody has asked how. Null where there is none, or no /proc. */
function startOf(pid: number): { time: string; dead: boolean } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name, in brackets, may hold anything; state is field 3, start time field 22.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { time: fields[19], dead: fields[0] === 'Z' || fields[0] === 'X' };
  } catch {
    return null;
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return hostname();
  }
}
