/**
 * One file, resumable: bytes are appended to a file beside its final place, a broken connection is continued with a Range
 * request, and only what has the listed digest is kept.
 */
import { closeSync, constants, existsSync, ftruncateSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../checkpoint/json-file.ts';
import { InputError, RunError } from '../errors.ts';
import { makeFolder } from '../store/files.ts';
import type { Answer, HubClient } from './client.ts';
import { ContentHash, hashFile, type RemoteFile } from './content.ts';
import { persist, TransientError } from './transient.ts';

/** How far a file is: `checking` reads what is on disk already. */
export interface FileProgress {
  stage: 'checking' | 'downloading';
  done: number;
  /** Bytes that were there before this run; they say nothing about its speed. */
  from: number;
}

/**
 * Bring `partial` to the file's full, verified content; returns the bytes that came over the network.
 * @param url where the hub answers with the file
 * @throws RunError if the content is not what the hub lists: nothing is left then; InterruptedError, TransientError: what
 *   has arrived stays for the next run
 */
export async function download(
  client: HubClient,
  url: string,
  file: RemoteFile,
  partial: string,
  onProgress: (progress: FileProgress) => void,
): Promise<number> {
  const sink = await PartialDownload.open(partial, file, client, onProgress);
  try {
    if (sink.bytes < file.bytes) {
      await persist(() => receive(client, url, file, sink), client.patience, {
        progress: () => sink.bytes,
        signal: client.signal,
      });
    }
    sink.finish();
  } finally {
    sink.close();
  }
  return sink.received;
}

/** One request for what is missing. */
function receive(client: HubClient, url: string, file: RemoteFile, sink: PartialDownload): Promise<void> {
  // Ranges count the bytes as sent, so that they must be sent as they are.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (sink.bytes > 0) headers.range = `bytes=${sink.bytes}-`;
  return client.get(url, headers, async (answer, chunks) => {
    checkSame(answer, file);
    const start = startOf(answer.response);
    if (start === 0) sink.restart();
    else if (start !== sink.bytes) {
      throw new RunError(`${file.name}: the server answers from byte ${start}, expected ${sink.bytes}`, tryAgain);
    }
    for await (const chunk of chunks) sink.write(chunk);
    if (sink.bytes < file.bytes) {
      throw new TransientError(
        `${file.name}: the connection ended after ${sink.bytes} of ${file.bytes} bytes`,
        'run the same command again; it goes on where it stopped',
      );
    }
  });
}

/** A hub that says beforehand that it has another content saves the download. Other hosts' ETags mean other things. */
function checkSame({ etag, response }: Answer, { name, digest, bytes }: RemoteFile): void {
  const given = /^(?:W\/)?"?([0-9a-f]+)"?$/i.exec(etag ?? '')?.[1].toLowerCase();
  if (given?.length === digest.length && given !== digest) {
    throw new RunError(`${name}: the server offers ETag ${given}, expected ${digest}`, tryAgain);
  }
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
  const isPacked = response.headers.has('content-encoding');
  const whole = response.status === 206 ? total : isPacked ? null : response.headers.get('content-length');
  if (whole != null && Number(whole) !== bytes) {
    throw new RunError(`${name}: the server offers ${whole} bytes, expected ${bytes}`, tryAgain);
  }
}

const tryAgain = 'run the same command again; if it fails again, the hub or a mirror (HF_ENDPOINT) serves a wrong file';

/** First byte of an answer: a server may send the whole file whatever it was asked for. */
function startOf({ status, headers }: Response): number {
  return status === 206 ? Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1]) : 0;
}

/**
 * The file that grows. Bytes are written at their place, never appended: two runs that pull the same file write the same
 * bytes to the same places.
 */
class PartialDownload {
  /** In order, from the start. */
  bytes = 0;
  /** Over the network, thrown away ones included. */
  received = 0;
  private readonly path: string;
  private readonly file: RemoteFile;
  private readonly onProgress: (progress: FileProgress) => void;
  private hash: ContentHash;
  private from = 0;
  private descriptor: number | null = null;

  private constructor(path: string, file: RemoteFile, onProgress: (progress: FileProgress) => void) {
    this.path = path;
    this.file = file;
    this.onProgress = onProgress;
    this.hash = new ContentHash(file);
  }

  /** Take up what an earlier run left. */
  static async open(
    path: string,
    file: RemoteFile,
    { signal }: HubClient,
    onProgress: (progress: FileProgress) => void,
  ): Promise<PartialDownload> {
    const sink = new PartialDownload(path, file, onProgress);
    const there = existsSync(path) ? statSync(path).size : 0;
    if (there === 0 || there > file.bytes) return sink;
    const onBytes = (done: number) => onProgress({ stage: 'checking', done, from: 0 });
    sink.bytes = await hashFile(path, sink.hash, onBytes, signal);
    sink.from = sink.bytes;
    return sink;
  }

  write(chunk: Uint8Array): void {
    this.received += chunk.length;
    if (this.bytes + chunk.length > this.file.bytes) {
      throw this.refused(`the server sends more than ${this.file.bytes} bytes, expected no more`);
    }
    this.toDisk(chunk);
    this.hash.update(chunk);
    this.bytes += chunk.length;
    this.onProgress({ stage: 'downloading', done: this.bytes, from: this.from });
  }

  /** Begin anew: the server does not send the rest alone. */
  restart(): void {
    this.bytes = 0;
    this.from = 0;
    this.hash = new ContentHash(this.file);
  }

  /** @throws RunError if the content is not the listed one; it is removed. */
  finish(): void {
    const { algorithm, digest } = this.file;
    const found = this.hash.digest();
    if (found !== digest) throw this.refused(`${algorithm} of the download is ${found}, expected ${digest}`);
    // A longer file from before is cut, an empty one is made.
    ftruncateSync(this.handle(), this.bytes);
  }

  close(): void {
    if (this.descriptor !== null) closeSync(this.descriptor);
    this.descriptor = null;
  }

  private refused(problem: string): RunError {
    rmSync(this.path, { force: true });
    return new RunError(`${this.file.name}: ${problem}; the download was removed`, tryAgain);
  }

  private toDisk(chunk: Uint8Array): void {
    try {
      for (let done = 0; done < chunk.length; ) {
        done += writeSync(this.handle(), chunk, done, chunk.length - done, this.bytes + done);
      }
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
      throw new InputError(
        `${this.path}: the disk is full after ${this.bytes} of ${this.file.bytes} bytes`,
        'free some space and run the same command again; it goes on where it stopped',
      );
    }
  }

  /** Opened with the first byte: a repository that refuses its files leaves no folders behind. */
  private handle(): number {
    if (this.descriptor !== null) return this.descriptor;
    makeFolder(dirname(this.path));
    this.descriptor = openSync(this.path, constants.O_RDWR | constants.O_CREAT, 0o666);
    return this.descriptor;
  }
}
