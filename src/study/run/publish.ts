/** From the units of a study, in their order, to its files. The same for a whole study and for shards that are merged. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { withRunWideFinite } from '../../divergence/gates/finite.ts';
import { processProvenance } from '../../divergence/identity.ts';
import { samplingColumns, writeConditions, writePrompts, writeVocabularies } from '../../divergence/shared-tables.ts';
import type { GateResult } from '../../divergence/summary.ts';
import { checkResults, mergeChecks, noChecks } from '../../patching/arms/checks.ts';
import { guard } from '../../store/files.ts';
import type { RunDirectory } from '../../store/run-directory.ts';
import type { CrossedFactors } from '../definition/factors.ts';
import type { ResolvedStudy } from '../definition/resolve.ts';
import { StudyOutcomes } from '../outcome/study-outcomes.ts';
import type { StudyOutcome } from '../outcome/types.ts';
import type { PromptUnit } from '../unit/unit.ts';
import type { StudyIdentity } from './study-identity.ts';
import { StudyTables } from './study-tables.ts';
import type { UnitJournal } from './unit-journal.ts';
import type { Shard, WorkUnits } from './work-units.ts';

/** A gate, and the group that it was measured in: `model/precision/kernels`. */
export interface StudyGate extends GateResult {
  group: string;
}

/** An unlikely flip, explained. */
export interface ExplainedFlip {
  condition: string;
  prompt: string;
  step: number;
  cause: string;
  verdict: string;
}

export interface StudyResult {
  name: string;
  shard: Shard | null;
  units: number;
  gates: StudyGate[];
  explained: ExplainedFlip[];
  /** Null of a shard: verdicts are about the whole. */
  outcome: StudyOutcome | null;
}

/** Where the units of a study are. */
export interface UnitSource {
  has(unit: number): boolean;
  /** @param prompt id of its prompt @throws InputError for a unit that was changed */
  use(unit: number, prompt: string, each: (found: PromptUnit) => void): void;
  /** By group. */
  gatesOf(group: number): readonly GateResult[];
  /** @throws RunError if another process writes the same files by now: both at once would spoil them */
  requireOwned(): void;
}

interface Publication {
  run: RunDirectory;
  identity: StudyIdentity;
  crossed: CrossedFactors;
  units: WorkUnits;
  source: UnitSource;
  /** Ids of the prompts of each model, in their order. */
  prompts: ReadonlyMap<string, readonly string[]>;
}

/** What was found in the units beside the outcomes. */
interface Streamed {
  gates: StudyGate[];
  explained: ExplainedFlip[];
  units: number;
  rows: Record<string, number>;
}

/** Hand every unit to the tables and to `each`, in order. */
function stream(
  { run, identity, crossed, units, source, prompts }: Publication,
  each: (unit: PromptUnit) => void,
): Streamed {
  const tables = new StudyTables(run, identity, crossed, [...new Set([...prompts.values()].flat())]);
  const { groups, conditions, groupOf } = crossed;
  const nonfinite = groups.map(() => ({ elements: 0, nan: 0, hook: null as string | null }));
  const checks = groups.map(() => noChecks());
  const explained: ExplainedFlip[] = [];
  let count = 0;
  for (let unit = 0; unit < units.count; unit++) {
    if (!source.has(unit)) continue;
    source.requireOwned();
    const { condition, prompt: place } = units.at(unit);
    const { name, model } = conditions[condition];
    const prompt = prompts.get(model.name)?.[place];
    if (prompt === undefined) throw new Error(`${model.name} has no prompt ${place}`);
    source.use(unit, prompt, (found) => {
      tables.write(found);
      each(found);
      const total = nonfinite[groupOf[condition]];
      total.elements += found.summary.nonfinite.elements;
      total.nan += found.summary.nonfinite.nan;
      total.hook ??= found.summary.nonfinite.hook;
      if (found.checks) checks[groupOf[condition]] = mergeChecks(checks[groupOf[condition]], found.checks);
      if (found.explained) explained.push({ condition: name, prompt, ...found.explained });
    });
    count += 1;
  }
  const gates = groups.flatMap(({ index, name, policy }) => {
    const measured = withRunWideFinite([...source.gatesOf(index)], policy, nonfinite[index]);
    const patched = checks[index]['patch-self'].steps > 0 ? checkResults(checks[index], policy) : [];
    return [...measured, ...patched].map((gate) => ({ ...gate, group: name }));
  });
  source.requireOwned();
  return { gates, explained, units: count, rows: tables.rows };
}

export interface StudyPublication {
  run: RunDirectory;
  identity: StudyIdentity;
  journal: UnitJournal;
  units: WorkUnits;
  study: ResolvedStudy;
}

/** The files of a whole study, from its journal. */
export function publishStudy(request: StudyPublication): StudyResult {
  const { run, journal } = request;
  const shared = writeShared(request);
  const publication = { ...fromJournal(request), ...request, crossed: request.study };
  const result = publishOutcome(publication, shared, processProvenance(run));
  journal.remove();
  return result;
}

/** The files of one shard: the tables of its units, and the units themselves for a merge. */
export function publishShard(request: StudyPublication & { shard: Shard }): StudyResult {
  const { run, identity, journal, shard } = request;
  const shared = writeShared(request);
  const { gates, explained, units, rows } = stream(
    { ...fromJournal(request), ...request, crossed: request.study },
    () => undefined,
  );
  const provenance = { ...processProvenance(run), shard, units, files: run.files, rows: { ...shared, ...rows } };
  run.publish({ gates }, { identity, provenance });
  journal.close();
  guard(journal.path, () => renameSync(journal.path, join(run.path, shardFile)));
  return { name: identity.name, shard, units, gates, explained, outcome: null };
}

/** What a finished shard keeps its units in. */
export const shardFile = 'units.jsonl';

/** Outcomes and verdicts of all units, and everything published. @param rows of tables that are written already */
export function publishOutcome(
  publication: Publication,
  rows: Record<string, number>,
  provenance: Record<string, unknown>,
): StudyResult {
  const { run, identity, crossed } = publication;
  const outcomes = new StudyOutcomes({ conditions: crossed.conditions });
  const found = stream(publication, ({ summary }) => outcomes.add(summary));
  const outcome = outcomes.finish(
    new Map(crossed.groups.map(({ name }) => [name, found.gates.filter(({ group }) => group === name)])),
  );
  publication.source.requireOwned();
  run.publish(
    { gates: found.gates },
    {
      identity,
      provenance: { ...provenance, units: found.units, files: run.files, rows: { ...rows, ...found.rows } },
    },
    {
      'outcomes.json': { ...outcome, explained: found.explained },
      'verdicts.json': { verdicts: outcome.verdicts, table: outcome.table, machine: outcome.machine },
    },
  );
  const { gates, explained, units } = found;
  return { name: identity.name, shard: null, units, gates, explained, outcome };
}

function fromJournal({ journal, study }: StudyPublication): Pick<Publication, 'source' | 'prompts'> {
  return {
    prompts: new Map([...study.models].map(([model, { prompts }]) => [model, prompts.map(({ id }) => id)])),
    source: {
      has: (unit) => journal.has(unit),
      use: (unit, prompt, each) => journal.use(unit, prompt, each),
      requireOwned: () => journal.requireOwned(),
      gatesOf: (group) => journal.gates.get(group)?.gates ?? [],
    },
  };
}

/** Conditions, prompts and vocabularies. */
function writeShared({ run, identity, study }: StudyPublication): Record<string, number> {
  const { conditions, models, definition } = study;
  const rows = conditions.map(({ name, model, policy, kernels, strategyName, strategy, coupling, padding }) => ({
    condition: name,
    ...{ model: model.name, precision: policy.name, kernels: kernels.name, strategy: strategyName },
    ...samplingColumns(strategy),
    ...{ decode_rows: definition.decodeRows, threads: definition.threads, template: definition.prompts.template },
    ...{ coupling, padding },
  }));
  const opened = [...models].map(([model, { checkpoint, prompts }]) => ({ model, checkpoint, prompts }));
  return {
    'conditions.arrow': writeConditions(run, identity, rows),
    'prompts.arrow': writePrompts(run, identity, opened),
    'vocab.arrow': writeVocabularies(
      run,
      identity,
      opened.map(({ checkpoint }) => checkpoint),
    ),
  };
}
