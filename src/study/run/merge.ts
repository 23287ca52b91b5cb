/** Join the shards of a study: the files of the whole, byte for byte, without any model. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processProvenance } from '../../divergence/identity.ts';
import { InputError } from '../../errors.ts';
import { hasJournal, journalPath } from '../../store/journal.ts';
import { differences, JournalFile, someDifferences } from '../../store/journal-file.ts';
import { RunDirectory } from '../../store/run-directory.ts';
import { crossFactors } from '../definition/factors.ts';
import { progressOf } from './expected-units.ts';
import { finishedRun } from './finished.ts';
import { isStudyIdentity } from './identity-schema.ts';
import { publishOutcome, type StudyResult, shardFile } from './publish.ts';
import { type PromptIds, promptIds, sameFile, sharedFiles, sharedRows } from './shared-files.ts';
import type { StudyIdentity } from './study-identity.ts';
import { UnitJournal } from './unit-journal.ts';
import { isOfShard, isShard, type Shard, WorkUnits } from './work-units.ts';

interface OpenShard {
  folder: string;
  shard: Shard;
  identity: StudyIdentity;
  journal: UnitJournal;
}

export interface MergeOptions {
  folders: readonly string[];
  /** Folder of the run; default as of any run. */
  out?: string;
  /** Go on with a merge that was cut short, and say again what a finished one found. */
  resume: boolean;
}

/**
 * Merge finished shards into a run.
 * @throws InputError for folders that are no shards of one study, or of which some are missing
 */
export async function mergeShards({
  folders,
  out,
  resume,
}: MergeOptions): Promise<{ result: StudyResult; run: string; isNew: boolean }> {
  const shards: OpenShard[] = [];
  try {
    for (const folder of folders) {
      if (out !== undefined && resolve(folder) === resolve(out)) {
        throw new InputError(`--out ${out}: is one of the shards, expected a folder of its own`);
      }
      shards.push(openShard(folder));
    }
    const prompts = await requireWhole(shards);
    const finished = resume && out !== undefined ? finishedRun(out, shards[0].identity, null) : null;
    if (finished && out !== undefined) return { result: finished, run: out, isNew: false };
    const run = RunDirectory.create({
      ...{ command: 'study', model: 'merged', resume },
      ...(out === undefined ? {} : { out }),
    });
    return { result: publishMerged(shards, prompts, run), run: run.path, isNew: true };
  } finally {
    for (const { journal } of shards) journal.close();
  }
}

/** A merge has a journal too, without units: it says that the folder is unfinished, of what, and who is at work there. */
function publishMerged(shards: readonly OpenShard[], prompts: PromptIds, run: RunDirectory): StudyResult {
  const [{ identity, folder: first }] = shards;
  const crossed = crossFactors(identity.factors);
  const units = unitsOf(identity);
  const owner = (unit: number) => shards.find(({ shard }) => isOfShard(unit, shard))?.journal;
  let own: JournalFile | undefined;
  try {
    own = JournalFile.open(journalPath(run.path), { ...identity, merge: shards.length });
    const journal = own;
    for (const name of sharedFiles)
      run.copy(
        name,
        sameFile(
          name,
          shards.map((shard) => shard.folder),
        ),
      );
    const result = publishOutcome(
      {
        ...{ run, identity, crossed, units, prompts },
        source: {
          has: (unit) => owner(unit)?.has(unit) ?? false,
          use: (unit, prompt, each) => {
            const of = owner(unit);
            if (!of) throw new Error(`unit ${unit} has no shard`);
            of.use(unit, prompt, each);
          },
          gatesOf: (group) => shards[0].journal.gates.get(group)?.gates ?? [],
          requireOwned: () => journal.requireOwned(),
        },
      },
      sharedRows(first),
      { ...processProvenance(run), shards: shards.map(({ folder, shard }) => ({ folder, ...shard })) },
    );
    own.remove();
    return result;
  } catch (error) {
    own?.remove();
    run.abort();
    throw error;
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
  return { folder, shard, identity: rest, journal: UnitJournal.load(file, unitsOf(rest)) };
}

/**
 * The prompts of the study.
 * @throws InputError unless the shards are those of one study, each once, with every unit
 */
async function requireWhole(shards: readonly OpenShard[]): Promise<PromptIds> {
  const [first, ...others] = shards;
  requireOneStudy(first, others);
  requireEach(shards);
  // Before units are counted: a number of prompts that nothing bounds would be counted through.
  const prompts = await promptIds(first.folder, first.identity);
  for (const opened of shards) requireUnits(opened);
  return prompts;
}

function requireOneStudy(first: OpenShard, others: readonly OpenShard[]): void {
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
}

function requireEach(shards: readonly OpenShard[]): void {
  const { of } = shards[0].shard;
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

/** A finished shard has all of its units, but a copy of one may have been cut short. */
function requireUnits({ folder, identity, shard, journal }: OpenShard): void {
  const { done, total, whole } = progressOf(crossFactors(identity.factors), unitsOf(identity), shard, journal);
  if (!whole) throw incomplete(folder, `holds ${done} of the ${total} units of shard ${shard.index}/${shard.of}`);
}

function incomplete(folder: string, why: string): InputError {
  return new InputError(`--merge: ${join(folder, shardFile)} ${why}`, 'was it copied to its end?');
}
