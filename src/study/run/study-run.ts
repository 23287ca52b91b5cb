/**
 * Run a study: the gates of every group, then every unit that is not in the journal yet, in worker threads. Units are
 * journalled as they are finished, so that a crash loses at most what was under way; the files are made of the journal at the
 * end, in the order of the units, so that neither workers nor interruptions nor shards change a byte.
 */
import { referenceTo } from '../../checkpoint/expand-kv.ts';
import { standInHolds } from '../../divergence/stand-in.ts';
import { exitCodes, InputError, InterruptedError, KvlensError } from '../../errors.ts';
import { journalPath } from '../../store/journal.ts';
import type { RunDirectory } from '../../store/run-directory.ts';
import type { ResolvedStudy } from '../definition/resolve.ts';
import type { GatesJob, Interruption, PromptJob, UnitConfig } from '../unit/unit.ts';
import { openUnitPool } from '../unit/unit-runner.ts';
import { expectedUnits, progressOf } from './expected-units.ts';
import { publishShard, publishStudy, type StudyResult } from './publish.ts';
import { studyIdentity, unitSettings } from './study-identity.ts';
import { UnitJournal } from './unit-journal.ts';
import { type Shard, WorkUnits } from './work-units.ts';

/** Prompts a group's unit is given: the gates use the first, the placebo looks for order-dependent classes in all. */
const gatePrompts = 3;

/** How far a study is. */
export interface StudyProgress {
  stage: 'gates' | 'units' | 'files';
  done: number;
  total: number;
  /** Finished in earlier sittings. */
  from: number;
  flips: number;
  /** Condition of the unit that was finished last. */
  condition: string | null;
}

export interface StudyOptions {
  study: ResolvedStudy;
  run: RunDirectory;
  workers: number;
  /** Default false. */
  releasePlacebo?: boolean;
  /** Null: all units. */
  shard: Shard | null;
  signal?: AbortSignal;
  onProgress?: (progress: StudyProgress) => void;
}

/**
 * Run a study, or a shard of one, and publish its folder.
 * @throws InterruptedError if it was interrupted: the journal stays, and nothing is published; InputError for a journal of
 *   another study
 */
export async function runStudy(options: StudyOptions): Promise<StudyResult> {
  const { study, run, shard, signal } = options;
  let journal: UnitJournal | undefined;
  try {
    const identity = await studyIdentity(study);
    const units = new WorkUnits(study.conditions.map(({ model }) => study.models.get(model.name)!.prompts.length));
    const head = shard === null ? identity : { ...identity, shard };
    journal = UnitJournal.open(journalPath(run.path), head, units);
    await makeUnits(options, units, journal);
    const { done, total, whole } = progressOf(study, units, shard, journal);
    if (!whole) {
      throw new InterruptedError(
        `interrupted after ${done} of ${total} units; they are in ${run.path}, and --resume --out ${run.path} goes on`,
      );
    }
    options.onProgress?.({ stage: 'files', done: 0, total, from: 0, flips: journal.flips, condition: null });
    const request = { run, identity, journal, units, study, shard, signal };
    return shard === null ? await publishStudy(request) : await publishShard({ ...request, shard });
  } catch (error) {
    run.abort();
    throw journal !== undefined && error instanceof InputError ? withResume(error, run.path) : error;
  } finally {
    journal?.close();
  }
}

/** What went wrong under way, such as a full disk, may be mended; what is finished is kept. */
function withResume({ message, hint }: InputError, path: string): InputError {
  const goesOn = `--resume --out ${path} goes on with what is finished`;
  return new InputError(message, hint === undefined ? goesOn : `${hint}; ${goesOn}`);
}

async function makeUnits(options: StudyOptions, units: WorkUnits, journal: UnitJournal): Promise<void> {
  const { study, workers, releasePlacebo = false, shard, signal, onProgress } = options;
  const { groups, models, conditions } = study;
  const open = groups.filter(({ index }) => !journal.gates.has(index));
  if (open.length === 0 && jobsOf(study, units, shard, journal).next().done) return;
  const interruption: Interruption = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const interrupt = () => Atomics.store(interruption, 0, 1);
  signal?.addEventListener('abort', interrupt, { once: true });
  const pool = openUnitPool({ ...configOf(study), releasePlacebo, interruption }, workers);
  try {
    const report = (stage: 'gates' | 'units', condition: string | null, total: number, from: number) => {
      const done = stage === 'gates' ? journal.gates.size : journal.finished;
      onProgress?.({ stage, done, total, from, flips: journal.flips, condition });
    };
    const measured = groups.length - open.length;
    report('gates', null, groups.length, measured);
    const gates = open.map(
      ({ index, model }): GatesJob => ({
        ...{ kind: 'gates', group: index, prompts: models.get(model)!.prompts.slice(0, gatePrompts) },
      }),
    );
    await pool.runAsFinished(
      gates,
      (result) => {
        journal.append(result);
        report('gates', null, groups.length, measured);
      },
      signal,
    );
    if (signal?.aborted) return;
    const { total } = progressOf(study, units, shard, journal);
    const begun = journal.finished;
    report('units', null, total, begun);
    await pool.runAsFinished(
      jobsOf(study, units, shard, journal),
      (result) => {
        journal.append(result);
        const condition = result.kind === 'prompt' ? conditions[result.summary.condition].name : null;
        report('units', condition, total, begun);
      },
      signal,
    );
  } catch (error) {
    // A unit that was left off is made anew: nothing of it is kept.
    if (!(error instanceof KvlensError) || error.exitCode !== exitCodes.interrupted) throw error;
  } finally {
    signal?.removeEventListener('abort', interrupt);
    await pool.close();
  }
}

/** Units that are not in the journal, in their order. */
function* jobsOf(
  { models, conditions, groupOf }: ResolvedStudy,
  units: WorkUnits,
  shard: Shard | null,
  journal: UnitJournal,
): Generator<PromptJob> {
  for (const unit of expectedUnits(groupOf, units, shard, journal)) {
    if (journal.has(unit)) continue;
    const { condition, prompt } = units.at(unit);
    const measured = journal.gates.get(groupOf[condition]);
    if (measured === undefined) continue;
    const { gates, classes, placeboPlan } = measured;
    const { model, policy } = conditions[condition];
    yield {
      ...{ kind: 'prompt', unit, condition, prompt: models.get(model.name)!.prompts[prompt] },
      uncachedPlan: standInHolds(policy, gates) ? 'stand-in' : 'recompute',
      ...{ gates, classes, placeboPlan },
    };
  }
}

/** What a thread is told of a study. */
function configOf(study: ResolvedStudy): Omit<UnitConfig, 'releasePlacebo' | 'interruption'> {
  const { models, groups, conditions, groupOf } = study;
  const references = [...models].map(([name, { checkpoint }]) => [name, referenceTo(checkpoint)]);
  return { models: Object.fromEntries(references), groups, conditions, groupOf, settings: unitSettings(study) };
}
