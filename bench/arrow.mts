/**
 * Speed and memory of writing activations: `npx tsx bench/arrow.mts [--megabytes 1000] [--dir DIR]`.
 *
 * Rows of binary16 numbers go through `src/store` into one file. Memory is bounded if the peak of the second half of the
 * write is that of the first; the same bytes written without Arrow show what the disk itself allows.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { roundTo } from '../src/numerics/half.ts';
import type { StorageType } from '../src/numerics/types.ts';
import { ActivationWriter } from '../src/store/activation-writer.ts';

const { values } = parseArgs({
  options: { megabytes: { type: 'string', default: '1000' }, dir: { type: 'string', default: tmpdir() } },
});
const total = Number(values.megabytes) * 1e6;
const width = 4096;
const hooks = Array.from({ length: 32 }, (_, layer) => `blocks.${layer}.hook_resid_post`);
const folder = mkdtempSync(join(values.dir, 'kvlens-bench-'));

/** Rows to write: numbers of all magnitudes that the type represents. */
function sourceRows(dtype: StorageType): Float32Array[] {
  let state = 1;
  return Array.from({ length: 64 }, () =>
    Float32Array.from({ length: width }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return roundTo(dtype, (state / 2 ** 31 - 1) * 2 ** ((state & 15) - 8));
    }),
  );
}

interface Measured {
  seconds: number;
  bytes: number;
  /** Largest resident set in megabytes: before, in the first half, in the second half. */
  before: number;
  first: number;
  second: number;
}

const resident = () => process.memoryUsage.rss() / 1e6;

/** Write until `total` bytes of values are in the file. */
function write(dtype: 'f16' | 'f32'): Measured {
  const source = sourceRows(dtype);
  const path = join(folder, `${dtype}.arrow`);
  const before = resident();
  const peaks = [0, 0];
  const writer = new ActivationWriter(path, {
    shape: [width],
    axes: ['d_model'],
    dtype,
    identity: {},
    dictionaries: { condition: ['bench'], prompt: ['p'], hook: hooks },
  });
  const rows = Math.ceil(total / (width * (dtype === 'f16' ? 2 : 4)));
  const began = performance.now();
  for (let i = 0; i < rows; i++) {
    const layer = i % hooks.length;
    const place = { step: i, position: i, token: 0, layer, hook: hooks[layer] };
    // Callers hand over copies: a captured tensor is overwritten or freed after its step.
    writer.add({ condition: 'bench', prompt: 'p', arm: 'cached', ...place, value: source[i % source.length].slice() });
    if (i % 64 === 0) {
      const half = i < rows / 2 ? 0 : 1;
      peaks[half] = Math.max(peaks[half], resident());
    }
  }
  writer.close();
  const seconds = (performance.now() - began) / 1000;
  const { size } = statSync(path);
  rmSync(path);
  return { seconds, bytes: size, before, first: peaks[0], second: peaks[1] };
}

/** The same number of bytes in pieces of 8 MiB. */
function writePlain(): number {
  const path = join(folder, 'plain');
  const piece = new Uint8Array(8 * 1024 * 1024).fill(7);
  const began = performance.now();
  const file = openSync(path, 'w');
  for (let written = 0; written < total; ) written += writeSync(file, piece);
  fsyncSync(file);
  closeSync(file);
  const seconds = (performance.now() - began) / 1000;
  rmSync(path);
  return seconds;
}

try {
  console.log(`${(total / 1e6).toFixed(0)} MB of values in rows of ${width}, one file, Node ${process.versions.node}`);
  console.log('            MB/s    RSS before   peak, first half   peak, second half   (MB)');
  for (const dtype of ['f16', 'f32'] as const) {
    const { seconds, bytes, before, first, second } = write(dtype);
    const numbers = [(bytes / 1e6 / seconds).toFixed(0).padStart(8), before.toFixed(0).padStart(13)];
    numbers.push(first.toFixed(0).padStart(18), second.toFixed(0).padStart(19));
    console.log(`  ${dtype.padEnd(6)}${numbers.join('')}`);
  }
  const plain = (total / 1e6 / writePlain()).toFixed(0);
  console.log(`  plain ${plain.padStart(8)}   the same bytes without Arrow`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
