/**
 * Arrow IPC files read by record batch, wherever their bytes are: a file, a file dropped onto a page, a server. Runs in a
 * browser too.
 */
import type { FileHandle } from 'node:fs/promises';
import { AsyncRecordBatchFileReader, type RecordBatch, RecordBatchReader, type Schema, Table } from 'apache-arrow';
import { InputError } from '../errors.ts';

/** Bytes that can be read at any place. */
export interface ArrowSource {
  size: number;
  /** Up to `length` bytes from `position` on; fewer at the end. */
  read(position: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** An opened Arrow file. */
export interface ArrowFile {
  schema: Schema;
  batchCount: number;
  /** One record batch. */
  batch(index: number): Promise<RecordBatch>;
  /** All of it. */
  table(): Promise<Table>;
  close(): Promise<void>;
}

/** Open an Arrow IPC file for random access by batch. @param path how errors name it @throws InputError if it is not one */
export async function openArrowSource(source: ArrowSource, path: string): Promise<ArrowFile> {
  try {
    await checkMagic(source);
    const reader = await RecordBatchReader.from(handleOf(source));
    await reader.open();
    if (!(reader instanceof AsyncRecordBatchFileReader)) throw new TypeError('not the Arrow IPC file format');
    const { schema, numRecordBatches } = reader;
    const batch = async (index: number) => {
      const found = await reader.readRecordBatch(index).catch(() => null);
      if (!found) throw new InputError(`${path}: record batch ${index} cannot be read, the file is damaged`);
      return found;
    };
    return {
      schema,
      batchCount: numRecordBatches,
      batch,
      // One after another: the reader seeks in the file it shares with every other read.
      table: async () => {
        const batches: RecordBatch[] = [];
        for (let index = 0; index < numRecordBatches; index++) batches.push(await batch(index));
        return new Table(schema, batches);
      },
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new InputError(`${path}: not a complete Arrow file (${reason})`);
  }
}

/** The library reads at random from what looks like a file handle: these three functions are all it asks of one. */
function handleOf({ size, read, close }: ArrowSource): FileHandle {
  const handle = {
    fd: 0,
    stat: () => Promise.resolve({ size }),
    read: async (buffer: Uint8Array, offset: number, length: number, position: number) => {
      const bytes = await read(position, length);
      buffer.set(bytes, offset);
      return { bytesRead: bytes.length, buffer };
    },
    close,
  };
  return handle as unknown as FileHandle;
}

/** The format begins and ends with ARROW1; the library looks at the beginning only, and takes a cut file for whole. */
async function checkMagic({ size, read }: ArrowSource): Promise<void> {
  const ends = [await read(0, 6), await read(Math.max(0, size - 6), 6)];
  const text = ends.map((bytes) => String.fromCharCode(...bytes)).join('');
  if (text !== 'ARROW1ARROW1') throw new TypeError('expected ARROW1 at its beginning and end');
}
