/** How fast this machine reads files, with and without its page cache. */
import { closeSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs';

const blockBytes = 8 * 2 ** 20;

/** Make the next read of every file come from the disk. False where the system does not permit it (Linux, as root). */
export function dropPageCache(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

export interface Pass {
  bytes: number;
  seconds: number;
}

/** Read files from begin to end in blocks of 8 MiB, or their first `limit` bytes together. */
export function readThrough(
  files: readonly string[],
  use: (block: Uint8Array) => void = () => {},
  limit = Infinity,
): Pass {
  const block = new Uint8Array(blockBytes);
  const began = performance.now();
  let bytes = 0;
  for (const file of files) {
    const descriptor = openSync(file, 'r');
    try {
      const end = Math.min(fstatSync(descriptor).size, limit - bytes);
      for (let at = 0; at < end; ) {
        const got = readSync(descriptor, block, 0, Math.min(block.length, end - at), at);
        if (got === 0) throw new Error(`${file}: ends at ${at}, expected ${end} bytes`);
        use(got === block.length ? block : block.subarray(0, got));
        at += got;
        bytes += got;
      }
    } finally {
      closeSync(descriptor);
    }
  }
  return { bytes, seconds: (performance.now() - began) / 1000 };
}

/** Megabytes (10^6 bytes) per second. */
export function rate({ bytes, seconds }: Pass): number {
  return bytes / 1e6 / seconds;
}

export interface DiskRates {
  /** From the disk, one per pass; empty where the page cache cannot be dropped. */
  cold: number[];
  /** Repeated at once: from the page cache, as far as the files fit into it. */
  warm: number;
}

/** Rates of reading all of these files once, `passes` times. */
export function measureDisk(files: readonly string[], passes: number): DiskRates {
  const cold: number[] = [];
  for (let i = 0; i < passes && dropPageCache(); i++) cold.push(rate(readThrough(files)));
  if (cold.length === 0) readThrough(files);
  return { cold, warm: rate(readThrough(files)) };
}
