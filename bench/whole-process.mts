/** Run a command and measure it from outside: wall time, CPU time and memory of the process and its children (Linux). */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Milliseconds between two looks. Peaks of one process are the kernel's own and miss nothing. */
const interval = 50;
/** Clock ticks of /proc/PID/stat per second: the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

export interface Measured {
  exitCode: number | null;
  seconds: number;
  /** CPU seconds of all processes, as last seen. */
  cpuSeconds: number;
  /** Largest resident set of the first process, as the kernel keeps it (VmHWM). */
  peakBytes: number;
  /** Largest sum over all processes, as sampled; and its part that is the processes' own, not mapped files. */
  peakSumBytes: number;
  peakAnonymousBytes: number;
  stdout: string;
}

/** Run `command` to its end; stderr passes through. */
export async function runMeasured(command: string, args: readonly string[]): Promise<Measured> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const found = { peakBytes: 0, peakSumBytes: 0, peakAnonymousBytes: 0 };
  const cpu = new Map<number, number>();
  const look = () => {
    if (child.pid === undefined) return;
    let sum = 0;
    let anonymous = 0;
    for (const pid of withChildren(child.pid)) {
      const status = readStatus(pid);
      if (status === null) continue;
      if (pid === child.pid) found.peakBytes = Math.max(found.peakBytes, status.VmHWM ?? 0);
      sum += status.VmRSS ?? 0;
      anonymous += status.RssAnon ?? 0;
      cpu.set(pid, cpuSeconds(pid) ?? cpu.get(pid) ?? 0);
    }
    found.peakSumBytes = Math.max(found.peakSumBytes, sum);
    found.peakAnonymousBytes = Math.max(found.peakAnonymousBytes, anonymous);
  };
  const timer = setInterval(look, interval);
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    const seconds = (performance.now() - began) / 1000;
    const cpuTotal = [...cpu.values()].reduce((total, own) => total + own, 0);
    return { exitCode, seconds, cpuSeconds: cpuTotal, ...found, stdout };
  } finally {
    clearInterval(timer);
  }
}

/** A process and all that descend from it. */
function withChildren(pid: number): number[] {
  const tasks = readOrNull(`/proc/${pid}/task/${pid}/children`)?.split(' ').filter(Boolean).map(Number) ?? [];
  return [pid, ...tasks.flatMap(withChildren)];
}

/** Sizes of /proc/PID/status in bytes, by name; null once the process has ended. */
function readStatus(pid: number): Record<string, number> | null {
  const text = readOrNull(`/proc/${pid}/status`);
  if (text === null) return null;
  const lines = [...text.matchAll(/^(\w+):\s+(\d+) kB$/gm)];
  return Object.fromEntries(lines.map(([, name, kilobytes]): [string, number] => [name, Number(kilobytes) * 1024]));
}

function cpuSeconds(pid: number): number | null {
  const text = readOrNull(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The second field is the name in parentheses and may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** `1.3 GB`. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
