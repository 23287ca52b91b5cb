/** Which content a hub promises under a file's name, and whether bytes are that content. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { InterruptedError } from '../errors.ts';

/** A file of a repository, as the hub lists it. */
export interface RemoteFile {
  /** Plain name, no folders. */
  name: string;
  bytes: number;
  /** sha256 of the bytes for large files (LFS, Xet); git's sha1 of a blob with them for small ones. */
  algorithm: 'sha256' | 'git sha1';
  /** Lower-case hex digits; also the file's ETag and its name in a hub cache. */
  digest: string;
}

/** The digest of a file's bytes so far. */
export class ContentHash {
  private readonly hash: Hash;

  constructor({ algorithm, bytes }: RemoteFile) {
    this.hash = createHash(algorithm === 'sha256' ? 'sha256' : 'sha1');
    if (algorithm === 'git sha1') this.hash.update(`blob ${bytes}\0`);
  }

  update(bytes: Uint8Array): void {
    this.hash.update(bytes);
  }

  /** Hex digits; nothing can be added after. */
  digest(): string {
    return this.hash.digest('hex');
  }
}

/** Called with the bytes that are done. */
export type OnBytes = (done: number) => void;

/** Add what a file on disk holds; returns how many bytes that is. @throws InterruptedError */
export async function hashFile(
  path: string,
  hash: ContentHash,
  onBytes: OnBytes,
  signal?: AbortSignal,
): Promise<number> {
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) {
    if (signal?.aborted) throw new InterruptedError();
    hash.update(chunk);
    done += chunk.length;
    onBytes(done);
  }
  return done;
}
