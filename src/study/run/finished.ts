/** A study that is finished already: `--resume` says again what it found, and makes nothing twice. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { gateResultSchema } from '../../divergence/gates/gate-result.ts';
import { InputError } from '../../errors.ts';
import { hasJournal } from '../../store/journal.ts';
import { differences, someDifferences } from '../../store/journal-file.ts';
import type { ResolvedStudy } from '../definition/resolve.ts';
import type { StudyOutcome } from '../outcome/types.ts';
import type { ExplainedFlip, StudyResult } from './publish.ts';
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
  provenance: z.object({ units: z.int(), shard: z.custom<Shard>(isShard).optional() }),
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
  const { gates } = read(folder, 'controls.json', controls);
  const result = { name: own.name, shard, units: provenance.units, gates };
  if (shard !== null) return { ...result, explained: [], outcome: null };
  const { explained: flips, ...outcome } = read(folder, 'outcomes.json', outcomesSchema);
  return { ...result, outcome, explained: flips };
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
    throw new InputError(`${path}: cannot be read as JSON`, 'remove the folder and run again');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InputError(`${path}: is not what a study writes`, 'remove the folder and run again');
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
