/** Read Arrow files of a run by record batch, without loading them whole. */
import { open } from 'node:fs/promises';
import { errorCode } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { type ArrowFile, openArrowSource } from './arrow-source.ts';

export type { ArrowFile } from './arrow-source.ts';

/** Open an Arrow IPC file for random access by batch. @throws InputError if it is not one */
export async function openArrow(path: string): Promise<ArrowFile> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw new InputError(`${path}: cannot be opened (${errorCode(error)})`);
  });
  const size = await handle.stat().then(
    (status) => status.size,
    async (error: unknown) => {
      await handle.close();
      throw new InputError(`${path}: cannot be read (${errorCode(error)})`);
    },
  );
  const read = async (position: number, length: number) => {
    const bytes = new Uint8Array(Math.min(length, Math.max(0, size - position)));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, position);
    return bytes.subarray(0, bytesRead);
  };
  return openArrowSource({ size, read, close: () => handle.close() }, path);
}
