/** Where a run comes from, from its manifest: the command, what computed, and the digests that identify it. */
import { z } from 'zod';
import { checkedJson } from './checked-json.ts';
import type { RunTables } from './run-tables.ts';

const text = z.record(z.string(), z.unknown());
const schema = z.looseObject({
  schemaVersion: z.number(),
  identity: z.looseObject({
    command: z.string(),
    plantedFaults: z.array(z.unknown()).optional(),
    settings: z.looseObject({ plant: z.unknown() }).optional(),
    versions: text.optional(),
    machine: text.optional(),
    session: text.optional(),
    sha256: text.optional(),
  }),
  provenance: z.looseObject({ command: z.array(z.string()).optional(), rows: text.optional() }).optional(),
});

/** What a schema knows comes first in what it returns; a record keeps its order. */
const ordered = z.looseObject({ identity: text });

export interface Provenance {
  /** `diverge`, `patch`, `study` … */
  kind: string;
  /** As it was typed, without paths where the manifest has none. */
  command: string;
  /** Faults were planted in the cached arm: how many, or 1 for a study that plants. */
  planted: number;
  /** What identifies the run, in the order of the manifest: names and values, values as JSON unless they are text. */
  facts: readonly { name: string; value: string }[];
  /** Rows by file. */
  rows: readonly { file: string; rows: string }[];
}

/** Read a run's provenance. @throws InputError if the manifest is none of kvlens */
export async function readProvenance(run: RunTables): Promise<Provenance> {
  const value = await run.json('manifest');
  const { identity, provenance } = checkedJson('manifest', value, schema, 'it is no manifest of kvlens');
  const { command, settings, plantedFaults = [] } = identity;
  const planted = plantedFaults.length + (settings?.plant ? 1 : 0);
  return {
    ...{ kind: command, planted },
    command: (provenance?.command ?? ['kvlens', command]).map(quoted).join(' '),
    facts: Object.entries(ordered.parse(value).identity)
      .filter(([name]) => name !== 'command')
      .map(([name, fact]) => ({ name, value: written(fact) })),
    rows: Object.entries(provenance?.rows ?? {}).map(([file, rows]) => ({ file, rows: written(rows) })),
  };
}

function written(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
