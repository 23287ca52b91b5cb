/** A run's folder as figures read it. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { RecordBatch } from 'apache-arrow';
import { InputError } from '../../errors.ts';
import { openArrow } from '../../store/reader.ts';
import type { RunTable, RunTables } from './run-tables.ts';

/** Open a run. @throws InputError if the folder is none, or holds no finished run */
export function openRunFolder(folder: string): RunTables {
  if (!existsSync(join(folder, 'manifest.json'))) {
    const hint = existsSync(join(folder, 'journal.jsonl'))
      ? 'the run is not finished: --resume goes on with it'
      : 'kvlens diverge, patch and study write runs';
    throw new InputError(`${folder}: holds no finished run (no manifest.json)`, hint);
  }
  const path = (table: RunTable) => join(folder, `${table}.arrow`);
  return {
    name: basename(resolve(folder)),
    has: (table) => existsSync(path(table)),
    batches: (table, wanted) => batchesOf(path(table), wanted),
    json: async (name) => {
      const file = join(folder, `${name}.json`);
      if (!existsSync(file)) return null;
      try {
        return JSON.parse(readFileSync(file, 'utf8'));
      } catch {
        throw new InputError(`${file}: is not JSON`);
      }
    },
  };
}

async function* batchesOf(path: string, wanted: (index: number) => boolean = () => true): AsyncGenerator<RecordBatch> {
  if (!existsSync(path)) return;
  const file = await openArrow(path);
  try {
    for (let index = 0; index < file.batchCount; index++) if (wanted(index)) yield await file.batch(index);
  } finally {
    await file.close();
  }
}
