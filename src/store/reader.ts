/** Read Arrow files of a run by record batch, without loading them whole. */
import { type FileHandle, open } from 'node:fs/promises';
import { AsyncRecordBatchFileReader, type RecordBatch, RecordBatchReader, type Schema, Table } from 'apache-arrow';
import { errorCode } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';

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

/** Open an Arrow IPC file for random access by batch. @throws InputError if it is not one. */
export async function openArrow(path: string): Promise<ArrowFile> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw new InputError(`${path}: cannot be opened (${errorCode(error)})`);
  });
  try {
    await checkMagic(handle);
    const reader = await RecordBatchReader.from(handle);
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
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new InputError(`${path}: not a complete Arrow file (${reason})`);
  }
}

/** The format begins and ends with ARROW1; the library looks at the beginning only, and takes a cut file for whole. */
async function checkMagic(handle: FileHandle): Promise<void> {
  const { size } = await handle.stat();
  const ends = Buffer.alloc(12);
  await handle.read(ends, 0, 6, 0);
  await handle.read(ends, 6, 6, Math.max(0, size - 6));
  if (ends.toString('latin1') !== 'ARROW1ARROW1') throw new TypeError('expected ARROW1 at its beginning and end');
}
