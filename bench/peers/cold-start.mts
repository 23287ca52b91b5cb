/** Cold start of the command people try first, as a whole process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../statistics.mts';
import { runMeasured } from '../whole-process.mts';

/** Seconds that `kvlens diverge mini-llama --limit 1` may take once its audits are known. */
const target = 3;

export interface ColdStart {
  /** Seconds by the clock of each run with the audit cache warm, and CPU seconds of all its processes. */
  seconds: number[];
  cpuSeconds: number[];
  /** Seconds of the first run here, which may have made the audits. */
  first: number;
  target: number;
  met: boolean;
}

/** Run the command `repetitions` times after one that warms the audit cache. @throws Error if it fails. */
export async function measureColdStart(repetitions: number): Promise<ColdStart> {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  const scratch = mkdtempSync(join(tmpdir(), 'kvlens-cold-'));
  const once = async (name: string) => {
    const args = [cli, 'diverge', 'mini-llama', '--limit', '1', '--quiet', '--out', join(scratch, name)];
    const measured = await runMeasured(process.execPath, args);
    if (measured.exitCode !== 0) throw new Error(`kvlens diverge mini-llama --limit 1: exit code ${measured.exitCode}`);
    return measured;
  };
  try {
    const { seconds: first } = await once('first');
    const runs = [];
    for (let i = 0; i < repetitions; i++) runs.push(await once(String(i)));
    const seconds = runs.map((run) => run.seconds);
    const cpuSeconds = runs.map((run) => run.cpuSeconds);
    return { seconds, cpuSeconds, first, target, met: median(seconds) <= target };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export function showColdStart({ seconds, cpuSeconds, first, met }: ColdStart): string {
  const [least, most] = [Math.min(...seconds), Math.max(...seconds)].map((x) => x.toFixed(2));
  return (
    `kvlens diverge mini-llama --limit 1: ${median(seconds).toFixed(2)} s (${least}–${most}, ${seconds.length} runs; ` +
    `CPU ${median(cpuSeconds).toFixed(2)} s; the first ${first.toFixed(2)} s), target ≤ ${target} s: ${met ? 'met' : 'missed'}`
  );
}
