/** The tables of a shard that do not depend on its units: every shard of a study has the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, readJsonFile } from '../../checkpoint/json-file.ts';
import { InputError, KvlensError } from '../../errors.ts';
import { excerpt } from '../../store/parse-json.ts';
import { openArrow } from '../../store/reader.ts';
import { shardFile } from './publish.ts';
import type { StudyIdentity } from './study-identity.ts';

export const sharedFiles = ['conditions.arrow', 'prompts.arrow', 'vocab.arrow'];

/** @throws InputError where a shard's file is another than the first one's */
export function sameFile(name: string, [first, ...others]: readonly string[]): string {
  const path = join(first, name);
  const content = readShared(path);
  for (const folder of others) {
    if (!readShared(join(folder, name)).equals(content)) {
      throw new InputError(`--merge: ${join(folder, name)} is not equal to ${path}`, 'was one of them changed?');
    }
  }
  return path;
}

function readShared(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new InputError(`--merge: ${path} cannot be read (${errorCode(error)})`, 'was the folder copied whole?');
  }
}

/** Ids of the prompts of each model, in their order. */
export type PromptIds = ReadonlyMap<string, readonly string[]>;

/** The prompts of a shard's study. @throws InputError if they are not as many as the shard's units are of */
export async function promptIds(
  folder: string,
  { factors, prompts }: Pick<StudyIdentity, 'factors' | 'prompts'>,
): Promise<PromptIds> {
  const path = join(folder, 'prompts.arrow');
  const found = await readPromptIds(path);
  for (const { name } of factors.models) {
    const [own, expected] = [prompts[name], found.get(name)?.length ?? 0];
    if (own !== expected) {
      throw new InputError(
        `--merge: ${join(folder, shardFile)}: prompts of ${name}: found ${own ?? 'nothing'}, expected ${expected}, as in ${path}`,
        'was one of them changed?',
      );
    }
  }
  return found;
}

async function readPromptIds(path: string): Promise<Map<string, string[]>> {
  const file = await openArrow(path);
  try {
    const table = await file.table();
    const [prompts, models] = ['prompt', 'model'].map((column) => [...(table.getChild(column) ?? [])].map(String));
    const found = new Map<string, string[]>();
    prompts.forEach((prompt, row) => {
      const own = found.get(models[row]) ?? [];
      own.push(prompt);
      found.set(models[row], own);
    });
    return found;
  } catch (error) {
    if (error instanceof KvlensError) throw error;
    throw new InputError(`--merge: ${path} cannot be read as a table`, 'was it changed?');
  } finally {
    await file.close();
  }
}

/** Rows of the shared files, as the shard's manifest has them. */
export function sharedRows(folder: string): Record<string, number> {
  const path = join(folder, 'manifest.json');
  const rows = pick(pick(readJsonFile(path), 'provenance'), 'rows');
  return Object.fromEntries(
    sharedFiles.map((name) => {
      const found = pick(rows, name);
      if (typeof found === 'number' && Number.isSafeInteger(found)) return [name, found];
      throw new InputError(
        `--merge: ${path}: provenance.rows.${name}: found ${excerpt(found)}, expected a whole number`,
      );
    }),
  );
}

function pick(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;
}
