/**
 * The least time a run over a checkpoint can take on this machine: `npx tsx bench/floor.mts DIR [--threads 1] [--rows 1,2,64]
 * [--passes 2] [--repetitions 5] [--calls FILE.json] [--prefill 64 --steps 16]`.
 *
 * Its weights read once at the measured rate of the disk, and its matmuls at their measured speed in the bare runtime.
 * Nothing else is counted: no conversion or packing of weights, no attention, no norms, no activations.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../src/checkpoint/open.ts';
import type { Checkpoint } from '../src/checkpoint/types.ts';
import { type Calls, describeCalls, readCalls, teacherForcedCalls } from './calls.mts';
import { type DiskRates, measureDisk } from './disk.mts';
import { arithmeticSeconds, attentionShare, type GemmRates, measureGemm } from './gemm.mts';
import { median } from './statistics.mts';

export interface FloorOptions {
  threads: number;
  /** Numbers of rows to measure; those between are interpolated. */
  rows: readonly number[];
  /** Cold readings of all weights. */
  passes: number;
  /** Of each matmul and number of rows. */
  repetitions: number;
}

export interface Floor {
  disk: DiskRates;
  gemm: GemmRates;
  /** Bytes of the tensors the model reads. */
  bytes: number;
  readSeconds: number;
  arithmeticSeconds: number;
}

/** Measure what these calls cannot take less than. */
export async function measureFloor(
  checkpoint: Checkpoint,
  calls: readonly Calls[],
  options: FloorOptions,
): Promise<Floor> {
  const tensors = [...checkpoint.tensors.values()];
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const disk = measureDisk([...new Set(tensors.map(({ file }) => file))], options.passes);
  const gemm = await measureGemm(checkpoint, options);
  const megabytesPerSecond = disk.cold.length > 0 ? median(disk.cold) : disk.warm;
  return {
    ...{ disk, gemm, bytes },
    readSeconds: bytes / 1e6 / megabytesPerSecond,
    arithmeticSeconds: arithmeticSeconds(checkpoint.config, gemm, calls),
  };
}

/** The measured rates and what they come to. */
export function showFloor(
  checkpoint: Checkpoint,
  calls: readonly Calls[],
  floor: Floor,
  { threads }: FloorOptions,
): string {
  const { disk, gemm, bytes } = floor;
  const rates = (numbers: readonly number[]) => numbers.map((number) => number.toFixed(0)).join(', ');
  const cold = disk.cold.length > 0 ? `${rates(disk.cold)} MB/s` : 'not measured, the page cache cannot be dropped';
  const lines = [
    `disk         cold ${cold}; again, from the page cache ${rates([disk.warm])} MB/s`,
    `loading      block ${gemm.blockLoad.toFixed(2)} s, head ${gemm.headLoad.toFixed(2)} s (converted and packed; not in the floor)`,
    `matmuls      ${threads} thread(s), medians`,
    '    rows   ms per block   ms of the head   GFLOP/s of the block',
  ];
  const { layers } = checkpoint.config;
  const block = blockParameters(checkpoint);
  for (const [rows, seconds] of gemm.block) {
    const numbers = [
      (seconds * 1000).toFixed(1).padStart(15),
      (gemm.head.get(rows)! * 1000).toFixed(1).padStart(17),
      ((2 * rows * block) / seconds / 1e9).toFixed(0).padStart(23),
    ];
    lines.push(`${String(rows).padStart(8)}${numbers.join('')}`);
  }
  const share = attentionShare(checkpoint, calls);
  const longest = Math.max(...calls.map(({ rows, past }) => rows + past));
  lines.push(
    `attention    ${(100 * share).toFixed(2)} % of the multiply-adds at up to ${longest} tokens: left out`,
    `calls        ${describeCalls(calls)}`,
    `floor        ${(floor.readSeconds + floor.arithmeticSeconds).toFixed(1)} s = ${(bytes / 1e9).toFixed(2)} GB read ` +
      `${floor.readSeconds.toFixed(1)} s + arithmetic ${floor.arithmeticSeconds.toFixed(1)} s (${layers} blocks and the head)`,
  );
  return lines.join('\n');
}

function blockParameters({ tensors }: Checkpoint): number {
  let sum = 0;
  for (const { name, shape } of tensors.values()) {
    if (name.startsWith('model.layers.0.') && shape.length === 2) sum += shape[0] * shape[1];
  }
  return sum;
}

/** Options that say what to measure; `floor.mts` and `real-size.mts` share them. */
export const floorArguments = {
  threads: { type: 'string', default: '1' },
  rows: { type: 'string' },
  passes: { type: 'string', default: '2' },
  repetitions: { type: 'string', default: '5' },
  calls: { type: 'string' },
  prefill: { type: 'string', default: '64' },
  steps: { type: 'string', default: '16' },
} as const;

/** Their values. */
export function readFloorArguments(values: Partial<Record<keyof typeof floorArguments, string>>) {
  const count = (name: keyof typeof floorArguments, least = 1) => {
    const found = Number(values[name]);
    if (Number.isInteger(found) && found >= least) return found;
    throw new Error(`--${name}: found ${values[name]}, expected a whole number ≥ ${least}`);
  };
  const [prefill, steps] = [count('prefill'), count('steps', 2)];
  const calls = values.calls === undefined ? teacherForcedCalls(prefill, steps) : readCalls(values.calls);
  const options: FloorOptions = {
    ...{ threads: count('threads'), passes: count('passes'), repetitions: count('repetitions') },
    rows: values.rows === undefined ? measuredRows(calls) : values.rows.split(',').map(Number),
  };
  if (options.rows.some((rows) => !Number.isInteger(rows) || rows < 1)) {
    throw new Error(`--rows: found ${values.rows}, expected whole numbers such as 1,2,64`);
  }
  return { prefill, steps, calls, options };
}

/** The calls' own numbers of rows, or sixteen of them, the smallest and the largest among them. */
function measuredRows(calls: readonly Calls[]): number[] {
  const all = [...new Set(calls.map(({ rows }) => rows))].sort((a, b) => a - b);
  if (all.length <= 16) return all;
  return [...new Set(Array.from({ length: 16 }, (_, i) => all[Math.round((i * (all.length - 1)) / 15)]))];
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: floorArguments });
  if (positionals.length !== 1) throw new Error(`found ${positionals.length} arguments, expected a checkpoint folder`);
  const { calls, options } = readFloorArguments(values);
  const checkpoint = await openCheckpoint(positionals[0]);
  console.log(showFloor(checkpoint, calls, await measureFloor(checkpoint, calls, options), options));
}
