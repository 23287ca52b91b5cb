/** What token ids stand for, from vocab.arrow: not yet made visible (`tokenText`), as figures cut them to their own room. */
import { Columns } from './columns.ts';
import type { RunTables } from './run-tables.ts';

/** Texts of these tokens of a model; a token without an entry is missing from the map. */
export async function tokenTexts(
  run: RunTables,
  model: string,
  ids: ReadonlySet<number>,
): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  if (ids.size === 0) return found;
  for await (const batch of run.batches('vocab')) {
    const columns = new Columns('vocab', batch);
    const [id, owner, string] = [columns.required('id'), columns.texts('model'), columns.texts('string')];
    const bytes = batch.getChild('bytes');
    for (let row = 0; row < batch.numRows; row++) {
      if (!ids.has(id(row)) || owner(row) !== model) continue;
      const value: unknown = bytes?.get(row);
      const text = value instanceof Uint8Array ? decode(value) : string(row);
      if (text !== '') found.set(id(row), text);
    }
  }
  return found;
}

/** A token may be part of a character: its bytes are then written out. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  }
}
