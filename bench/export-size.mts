/**
 * What exporting a model of real size takes: `npx tsx bench/export-size.mts DIR…` for checkpoint folders, with
 * dist/ built. The per-layer graph folder's bytes, and seconds of `kvlens export` as a whole process, weights first on disk
 * and then in the page cache; beside them, what its one costly part takes alone: the sha256 of the weights in graph.json.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { dropPageCache, type Pass, rate, readThrough } from './disk.mts';
import { gigabytes, runMeasured } from './whole-process.mts';

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const { positionals } = parseArgs({ allowPositionals: true });
if (positionals.length === 0) throw new Error('found no arguments, expected checkpoint folders');
const scratch = mkdtempSync(join(tmpdir(), 'kvlens-export-'));

/** A pass of `operation` over `bytes` bytes. */
async function timed(bytes: number, operation: () => Promise<unknown>): Promise<Pass> {
  const began = performance.now();
  await operation();
  return { bytes, seconds: (performance.now() - began) / 1000 };
}

function show(name: string, pass: Pass): void {
  const perGigabyte = (pass.seconds / pass.bytes) * 1e9;
  console.log(
    `  ${name.padEnd(46)}${pass.seconds.toFixed(1).padStart(7)} s${rate(pass).toFixed(0).padStart(8)} MB/s` +
      `${perGigabyte.toFixed(2).padStart(8)} s/GB`,
  );
}

/** `kvlens export` as a whole process; the folder's size once. */
async function exported(dir: string, name: string, bytes: number, first: boolean): Promise<void> {
  const out = join(scratch, 'graphs');
  const { exitCode, seconds, peakBytes, stdout } = await runMeasured(process.execPath, [
    cli,
    'export',
    dir,
    '--out',
    out,
  ]);
  if (exitCode !== 0) throw new Error(`kvlens export ${dir} ended with ${exitCode}: ${stdout}`);
  const files = readdirSync(out);
  const size = files.reduce((sum, file) => sum + statSync(join(out, file)).size, 0);
  rmSync(out, { recursive: true });
  if (first)
    console.log(
      `  graph folder: ${files.length} files, ${(size / 1e6).toFixed(2)} MB; peak memory ${gigabytes(peakBytes)}`,
    );
  show(name, { bytes, seconds });
}

try {
  for (const dir of positionals) {
    const checkpoint = await openCheckpoint(dir);
    const files = [...new Set([...checkpoint.tensors.values()].map(({ file }) => file))].sort();
    const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
    console.log(`${checkpoint.name}: ${gigabytes(bytes)} of weights`);
    const permitted = dropPageCache();
    await exported(dir, permitted ? 'export, weights on disk' : 'export, page cache as it was', bytes, true);
    await exported(dir, 'export, weights in the page cache', bytes, false);
    // A checkpoint computes its digest once: open it anew.
    const digest = async () => (await openCheckpoint(dir)).sha256();
    if (dropPageCache()) show('Checkpoint.sha256(), on disk', await timed(bytes, digest));
    show('Checkpoint.sha256(), in the page cache', await timed(bytes, digest));
    for (const cold of [true, false]) {
      if (cold && !dropPageCache()) continue;
      const hash = createHash('sha256');
      const where = cold ? 'on disk' : 'in the page cache';
      show(
        `sha256 over blocks of 8 MiB, ${where}`,
        readThrough(files, (block) => hash.update(block)),
      );
      hash.digest();
    }
    if (dropPageCache()) show('reading alone, on disk', readThrough(files));
    show('reading alone, in the page cache', readThrough(files));
  }
  const block = new Uint8Array(8 * 2 ** 20).fill(7);
  const hash = createHash('sha256');
  const began = performance.now();
  for (let i = 0; i < 128; i++) hash.update(block);
  hash.digest();
  show("Node's sha256 alone, in memory", { bytes: 128 * block.length, seconds: (performance.now() - began) / 1000 });
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
