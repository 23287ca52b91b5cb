/** A study that is finished already: `--resume` says again what it found, and makes nothing twice. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { gateResultSchema } from '../../divergence/gates/gate-result.ts';
import { InputError } from '../../errors.ts';
import { hasJournal } from '../../store/journal.ts';
import { differences, someDifferences } from '../../store/journal-file.ts';
import { crossFactors } from '../definition/factors.ts';
import type { ResolvedStudy } from '../definition/resolve.ts';
import type { StudyOutcome } from '../outcome/types.ts';
import { unitTables } from '../unit/unit.ts';
import { type ExplainedFlip, type StudyResult, shardFile } from './publish.ts';
import { sharedFiles } from './shared-files.ts';
import { type StudyIdentity, studyIdentity } from './study-identity.ts';
import { isShard, type Shard } from './work-units.ts';

const gate = z.object({ group: z.string() }).loose();
const controls = z.object({
  gates: z.array(gate.transform(({ group, ...rest }) => ({ ...gateResultSchema.parse(rest), group }))),
});
const explained = z.array(
  z.strictObject({
    ...{ condition: z.string(), prompt: z.string(), step: z.int(), cause: z.string(), verdict: z.string() },
  }),
);
const manifest = z.object({
  identity: z.unknown(),
  provenance: z.object({
    units: z.int(),
    shard: z.custom<Shard>(isShard).optional(),
    rows: z.record(z.string(), z.int().nonnegative()),
  }),
});

/** What a finished run of a study, or of a shard of it, found; null if the folder holds no finished run. @throws as `finishedRun` */
export async function finishedStudy(
  folder: string,
  study: ResolvedStudy,
  shard: Shard | null,
): Promise<StudyResult | null> {
  return holdsFinished(folder) ? finishedRun(folder, await studyIdentity(study), shard) : null;
}

function holdsFinished(folder: string): boolean {
  return !hasJournal(folder) && existsSync(join(folder, 'manifest.json'));
}

/**
 * What a finished run found; null if the folder holds no finished run.
 * @throws InputError if it is another study's, or was changed
 */
export function finishedRun(folder: string, own: StudyIdentity, shard: Shard | null): StudyResult | null {
  if (!holdsFinished(folder)) return null;
  const { identity, provenance } = read(folder, 'manifest.json', manifest);
  const found = { identity, shard: provenance.shard ?? null };
  const differing = differences(found, plain({ identity: own, shard })).map((text) => text.replace(/^identity\./, ''));
  if (differing.length > 0) {
    throw new InputError(
      `--resume: ${folder} holds another finished run: ${someDifferences(differing)}`,
      'give the settings it was made with, or another --out',
    );
  }
  requireFiles(folder, provenance.rows, shard === null ? ['verdicts.json'] : [shardFile]);
  const { gates } = read(folder, 'controls.json', controls);
  for (const { name } of crossFactors(own.factors).groups) {
    if (gates.every(({ group }) => group !== name)) {
      throw damaged(join(folder, 'controls.json'), `has no gate of ${name}`);
    }
  }
  const result = { name: own.name, shard, units: provenance.units, gates };
  if (shard !== null) return { ...result, explained: [], outcome: null };
  const { explained: flips, ...outcome } = read(folder, 'outcomes.json', outcomesSchema);
  return { ...result, outcome, explained: flips };
}

/** Tables of the run, by their rows in its manifest, and its other files. @throws InputError for the first that is not there */
function requireFiles(folder: string, rows: Readonly<Record<string, number>>, others: readonly string[]): void {
  const tables = [...sharedFiles, ...unitTables.map((table) => `${table}.arrow`)];
  const unlisted = tables.find((name) => !Object.hasOwn(rows, name));
  if (unlisted !== undefined) throw damaged(join(folder, 'manifest.json'), `has no rows of ${unlisted}`);
  for (const name of [...tables, ...others]) {
    const path = join(folder, name);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw damaged(path, 'is missing');
  }
}

/** As this version of kvlens writes it: the identity, which is equal, names the version. */
const outcomesSchema = z.custom<StudyOutcome & { explained: ExplainedFlip[] }>(
  (value) =>
    z
      .looseObject({
        conditions: z.array(z.looseObject({ condition: z.string() })),
        verdicts: z.array(z.looseObject({ claim: z.string() })),
        table: z.array(z.unknown()),
        explained,
      })
      .safeParse(value).success,
);

function read<T extends z.ZodType>(folder: string, name: string, schema: T): z.output<T> {
  const path = join(folder, name);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw damaged(path, 'cannot be read as JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw damaged(path, 'is not what a study writes');
}

/** A finished run in which something is not as it was published. */
export function damaged(path: string, what: string): InputError {
  return new InputError(`${path}: ${what}`, 'remove the folder and run again');
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
