/**
 * Memory of a study by its number of prompts: `npx tsx bench/study-memory.mts`, with dist/ built. A model so small that units
 * take milliseconds, each with every kind of row; the whole process, its threads included, at its peak – of a run, of a shard and of a merge.
 * Options: --prompts 100,400,1600, --workers 2.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { removeCheckpoint, writeTinyCheckpoint } from '../test/tiny-checkpoint.ts';
import { runMeasured } from './whole-process.mts';

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const { values } = parseArgs({
  options: { prompts: { type: 'string', default: '100,400,1600' }, workers: { type: 'string', default: '2' } },
});
const counts = values.prompts.split(',').map(Number);
const scratch = mkdtempSync(join(tmpdir(), 'kvlens-study-memory-'));
const model = writeTinyCheckpoint({ modelType: 'llama', attention: 'gqa', vocabSize: 96 });

/** A study of so many prompts, each profiled, patched and with a placebo. */
function studyOf(count: number): string {
  const prompts = join(scratch, `prompts-${count}.jsonl`);
  const tokens = (i: number) => [1, 3 + (i % 90), 3 + (Math.floor(i / 90) % 90), 9];
  writeFileSync(
    prompts,
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ id: `p${i}`, tokens: tokens(i) })}\n`).join(''),
  );
  const study = join(scratch, `study-${count}.json`);
  writeFileSync(
    study,
    JSON.stringify({
      ...{ name: `memory-${count}`, models: [model], strategies: ['greedy'], precisions: ['fp16'] },
      ...{
        kernels: ['split-k:4:storage'],
        prompts: { file: prompts, limit: count },
        maxNewTokens: 24,
        ignoreEos: true,
      },
      ...{ profile: { prompts: count }, patching: { prompts: count, every: 8 }, placebo: { arms: 2 } },
    }),
  );
  return study;
}

async function peakOf(line: readonly string[]): Promise<{ megabytes: number; seconds: number }> {
  const { exitCode, seconds, peakBytes } = await runMeasured(process.execPath, [cli, 'study', ...line, '--quiet']);
  // 1: finished, with a gate that failed.
  if (exitCode !== 0 && exitCode !== 1) throw new Error(`kvlens study ${line.join(' ')} ended with ${exitCode}`);
  return { megabytes: peakBytes / 1e6, seconds };
}

try {
  console.log('  prompts   run            shard 1/1      merge          journal');
  const peaks: Record<string, number>[] = [];
  for (const count of counts) {
    const study = studyOf(count);
    const at = (name: string) => join(scratch, `${name}-${count}`);
    const workers = ['--workers', values.workers];
    const run = await peakOf([study, '--out', at('run'), ...workers]);
    const shard = await peakOf([study, '--out', at('shard'), '--shard', '1/1', ...workers]);
    const merged = await peakOf(['--merge', at('shard'), '--out', at('merged')]);
    const journal = statSync(join(at('shard'), 'units.jsonl')).size / 1e6;
    const show = ({ megabytes, seconds }: typeof run) =>
      `${megabytes.toFixed(0)} MB ${seconds.toFixed(1)} s`.padEnd(15);
    console.log(`${`${count}`.padStart(9)}   ${show(run)}${show(shard)}${show(merged)}${journal.toFixed(1)} MB`);
    peaks.push({ count, run: run.megabytes, shard: shard.megabytes, merged: merged.megabytes });
    for (const name of ['run', 'shard', 'merged']) rmSync(at(name), { recursive: true });
  }
  const [first, last] = [peaks[0], peaks[peaks.length - 1]];
  const growth = (name: string) =>
    `${name} ${(((last[name] - first[name]) / (last.count - first.count)) * 1e3).toFixed(1)} kB`;
  console.log(`  growth per prompt: ${['run', 'shard', 'merged'].map(growth).join(', ')}`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
  removeCheckpoint(model);
}
