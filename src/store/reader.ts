/** Read Arrow files of a run by record batch, without loading them whole. */
import { open } from 'node:fs/promises';
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
    const reader = await RecordBatchReader.from(handle);
    await reader.open();
    if (!(reader instanceof AsyncRecordBatchFileReader)) throw new TypeError('not the Arrow IPC file format');
    const { schema, numRecordBatches } = reader;
    const batch = async (index: number) => {
      const found = await reader.readRecordBatch(index);
      if (!found) throw new InputError(`${path}: record batch ${index} cannot be read`);
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
