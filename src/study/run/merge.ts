/** Join the shards of a study: the files of the whole, byte for byte, without any model. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { processProvenance } from '../../divergence/identity.ts';
import { InputError } from '../../errors.ts';
import { hasJournal } from '../../store/journal.ts';
import { differences, JournalFile, someDifferences } from '../../store/journal-file.ts';
import { openArrow } from '../../store/reader.ts';
import type { RunDirectory } from '../../store/run-directory.ts';
import { crossFactors } from '../definition/factors.ts';
import { publishOutcome, type StudyResult, shardFile } from './publish.ts';
import { isStudyIdentity, type StudyIdentity } from './study-identity.ts';
import { UnitJournal } from './unit-journal.ts';
import { isShard, type Shard, WorkUnits } from './work-units.ts';

/** Tables that do not depend on the units: every shard has the same. */
const sharedFiles = ['conditions.arrow', 'prompts.arrow', 'vocab.arrow'];

interface OpenShard {
  folder: string;
  shard: Shard;
  identity: StudyIdentity;
  journal: UnitJournal;
}

/**
 * Merge finished shards into a run.
 * @throws InputError for folders that are no shards of one study, or of which some are missing
 */
export async function mergeShards(folders: readonly string[], run: RunDirectory): Promise<StudyResult> {
  const shards: OpenShard[] = [];
  try {
    for (const folder of folders) shards.push(openShard(folder));
    requireWhole(shards);
    const [{ identity, folder: first }] = shards;
    const crossed = crossFactors(identity.factors);
    const units = unitsOf(identity);
    const owner = (unit: number) => shards.find(({ shard }) => unit % shard.of === shard.index - 1)?.journal;
    const gatesOf = (group: number) => shards[0].journal.gates.get(group)?.gates ?? [];
    for (const name of sharedFiles) run.copy(name, sameFile(name, shards));
    return publishOutcome(
      {
        ...{ run, identity, crossed, units, prompts: await promptIds(first) },
        source: {
          has: (unit) => owner(unit)?.has(unit) ?? false,
          read: (unit) => {
            const journal = owner(unit);
            if (!journal) throw new Error(`unit ${unit} has no shard`);
            return journal.read(unit);
          },
          gatesOf,
        },
      },
      sharedRows(first),
      { ...processProvenance(run), shards: shards.map(({ folder, shard }) => ({ folder, ...shard })) },
    );
  } catch (error) {
    run.abort();
    throw error;
  } finally {
    for (const { journal } of shards) journal.close();
  }
}

function unitsOf(identity: StudyIdentity): WorkUnits {
  return new WorkUnits(crossFactors(identity.factors).conditions.map(({ model }) => identity.prompts[model.name] ?? 0));
}

function openShard(folder: string): OpenShard {
  const path = join(folder, shardFile);
  if (!existsSync(path)) {
    const [why, hint] = hasJournal(folder)
      ? ['holds an unfinished shard', `go on with --resume --out ${folder}`]
      : ['holds no shard', 'expected folders that kvlens study --shard i/n wrote'];
    throw new InputError(`--merge: ${folder} ${why}`, hint);
  }
  const file = JournalFile.read(path);
  const { identity } = file;
  if (!isStudyIdentity(identity) || !isShard(identity.shard)) {
    file.close();
    throw new InputError(`--merge: ${path} is not of a shard of a study`);
  }
  const { shard, ...rest } = identity;
  return { folder, shard, identity: rest, journal: UnitJournal.load(file, unitsOf(rest).count) };
}

/** @throws InputError unless the shards are those of one study, each once, with every unit */
function requireWhole(shards: readonly OpenShard[]): void {
  const [first, ...others] = shards;
  for (const { folder, identity, shard, journal } of others) {
    const differing = differences(first.identity, identity);
    if (differing.length > 0) {
      throw new InputError(
        `--merge: ${folder} is of another study than ${first.folder}: ${someDifferences(differing)}`,
      );
    }
    if (shard.of !== first.shard.of) {
      throw new InputError(
        `--merge: ${folder} is shard ${shard.index} of ${shard.of}, expected one of ${first.shard.of} as ${first.folder}`,
      );
    }
    for (const [group, { gates, classes }] of journal.gates) {
      const own = first.journal.gates.get(group);
      const unlike = own === undefined ? ['gates are missing'] : differences(own, { ...own, gates, classes });
      if (unlike.length > 0) {
        throw new InputError(
          `--merge: gates of ${folder} are not those of ${first.folder}: ${someDifferences(unlike)}`,
        );
      }
    }
  }
  const { of } = first.shard;
  const found = new Map<number, string>();
  for (const { shard, folder } of shards) {
    const twice = found.get(shard.index);
    if (twice !== undefined)
      throw new InputError(`--merge: ${twice} and ${folder} are both shard ${shard.index} of ${of}`);
    found.set(shard.index, folder);
  }
  const missing = Array.from({ length: of }, (_, i) => i + 1).filter((index) => !found.has(index));
  if (missing.length > 0) {
    const shown = missing.slice(0, 10).join(', ') + (missing.length > 10 ? ', …' : '');
    throw new InputError(`--merge: found ${found.size} of ${of} shards, missing: ${shown}`);
  }
}

/** @throws InputError where a shard's file is another than the first one's */
function sameFile(name: string, [first, ...others]: readonly OpenShard[]): string {
  const path = join(first.folder, name);
  const content = readFileSync(path);
  for (const { folder } of others) {
    if (!readFileSync(join(folder, name)).equals(content)) {
      throw new InputError(`--merge: ${join(folder, name)} is not equal to ${path}`, 'was one of them changed?');
    }
  }
  return path;
}

async function promptIds(folder: string): Promise<string[]> {
  const file = await openArrow(join(folder, 'prompts.arrow'));
  try {
    const ids = (await file.table()).getChild('prompt');
    return [...new Set([...(ids ?? [])].map(String))];
  } finally {
    await file.close();
  }
}

/** Rows of the shared files, as the shard's manifest has them. */
function sharedRows(folder: string): Record<string, number> {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  const rows = pick(pick(manifest, 'provenance'), 'rows');
  return Object.fromEntries(sharedFiles.map((name) => [name, Number(pick(rows, name) ?? 0)]));
}

function pick(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;
}
