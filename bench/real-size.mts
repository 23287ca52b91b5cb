/**
 * A run at real size against its floor: `npx tsx bench/real-size.mts DIR [--prefill 64 --steps 16] [--calls FILE.json]
 * [--within 1.5] [options of floor.mts] [-- options of kvlens diverge]`, with dist/ built.
 *
 * `kvlens diverge`, teacher-forced on seeded token ids, as one whole process from start to exit with the weights on disk;
 * and what its forward passes cannot take less than, measured in the same minutes (`floor.mts`). A run layer by layer lists its
 * passes in the manifest; of another, the calls are those of `--calls`, or those a run must make. Exit code 1 if the run fails
 * or its time is more than `--within` floors.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import { dropPageCache } from './disk.mts';
import { floorArguments, measureFloor, readFloorArguments, showFloor } from './floor.mts';
import { type Passes, passSeconds } from './gemm.mts';
import { Random } from './random.mts';
import { gigabytes, runMeasured } from './whole-process.mts';

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const separator = process.argv.indexOf('--');
const own = process.argv.slice(2, separator < 0 ? undefined : separator);
const passedOn = separator < 0 ? [] : process.argv.slice(separator + 1);
const { values, positionals } = parseArgs({
  args: own,
  allowPositionals: true,
  options: { ...floorArguments, within: { type: 'string', default: '1.5' } },
});
if (positionals.length !== 1) throw new Error(`found ${positionals.length} arguments, expected a checkpoint folder`);
const [dir] = positionals;
const { prefill, steps, calls, options } = readFloorArguments(values);
const within = Number(values.within);
if (!(within > 0)) throw new Error(`--within: found ${values.within}, expected a number of floors such as 1.5`);

const checkpoint = await openCheckpoint(dir);
const floor = await measureFloor(checkpoint, calls, options);
console.log(`${checkpoint.name}: ${prefill} + ${steps} tokens`);
console.log(showFloor(checkpoint, calls, floor, options));

const random = new Random(1, 'tokens');
const tokens = Array.from({ length: prefill + steps }, () => random.integer(checkpoint.config.vocabSize));
const scratch = mkdtempSync(join(tmpdir(), 'kvlens-real-size-'));
try {
  const cold = dropPageCache();
  const measured = await runMeasured(process.execPath, [
    ...[cli, 'diverge', dir, '--tokens', tokens.join(), '--mode', 'teacher-forced', '--prefill', String(prefill)],
    ...['--threads', String(options.threads), '--workers', '1', '--quiet', '--out', join(scratch, 'run'), ...passedOn],
  ]);
  console.log(`\n${measured.stdout.trimEnd()}\n`);
  const passes = measured.exitCode === 0 ? passesOf(join(scratch, 'run', 'manifest.json')) : null;
  const arithmetic = passes === null ? floor.arithmeticSeconds : passSeconds(floor.gemm, passes);
  if (passes !== null) {
    const rows = passes.block.reduce((sum, { rows, count }) => sum + rows * count, 0) / checkpoint.config.layers;
    console.log(
      `ran          ${rows.toFixed(0)} rows through each block, both arms and gates: floor ` +
        `${(floor.readSeconds + arithmetic).toFixed(1)} s = read ${floor.readSeconds.toFixed(1)} s + arithmetic ${arithmetic.toFixed(1)} s`,
    );
  }
  const ratio = measured.seconds / (floor.readSeconds + arithmetic);
  console.log(
    `run          exit code ${measured.exitCode}, ${measured.seconds.toFixed(1)} s (CPU ${measured.cpuSeconds.toFixed(1)} s), ` +
      `weights ${cold ? 'on disk' : 'where they were, the page cache cannot be dropped'}\n` +
      `memory       peak ${gigabytes(measured.peakBytes)} resident (VmHWM); all processes ${gigabytes(measured.peakSumBytes)}, ` +
      `of which their own ${gigabytes(measured.peakAnonymousBytes)}, the rest mapped files\n` +
      `ratio        ${ratio.toFixed(2)} floors, at most ${within} wanted`,
  );
  if (measured.exitCode !== 0 || ratio > within) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** The passes a run layer by layer says it made; null for another. */
function passesOf(file: string): Passes | null {
  const { provenance } = JSON.parse(readFileSync(file, 'utf8')) as { provenance: { passes?: Passes } };
  return provenance.passes ?? null;
}
