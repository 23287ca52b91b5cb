/**
 * The run of an experiment: gates, every prompt, then tables, controls and the manifest. Prompts run in worker threads and
 * are written in their order; each is journalled as it is finished, so that an interrupted run goes on where it stopped.
 */
import { harnessHolds, runGates } from '../../divergence/gates/index.ts';
import { runIdentity, runProvenance } from '../../divergence/identity.ts';
import type { PromptInput } from '../../divergence/prompt-run.ts';
import { promptInput } from '../../divergence/prompt-runner.ts';
import type { RunSubject } from '../../divergence/run-subject.ts';
import { standInHolds } from '../../divergence/stand-in.ts';
import type { GateResult } from '../../divergence/summary.ts';
import type { Pool } from '../../divergence/worker-pool.ts';
import { InterruptedError, type UsageError } from '../../errors.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import { Journal } from '../../store/journal.ts';
import type { PatchSpec } from '../specification/spec.ts';

/** How far a run is. */
export interface PatchProgress {
  stage: 'gates' | 'prompts';
  done: number;
  total: number;
  /** Prompts that an earlier sitting finished. */
  from: number;
}

export interface ExperimentOptions extends Omit<RunSubject, 'hooks'> {
  spec: PatchSpec;
  workers: number;
  onProgress?: (progress: PatchProgress) => void;
}

/** What an experiment does in a run. `Result` is what becomes of a prompt: plain data. */
export interface Experiment<Result> {
  /** The spec as the run's identity has it: without paths. */
  identity: unknown;
  /** Open the tables, once the gates are known. */
  tables(subject: RunSubject, identity: unknown): ResultTables<Result>;
  /** A pool whose lanes run prompts. */
  open(plan: UncachedPlan, workers: number): Pool<PromptInput, Result>;
  /** Checks a result that an earlier sitting journalled. */
  parse(value: unknown): Result;
  /** Called with each result, in the order of the prompts. */
  take(result: Result): void;
  /** Checks that are known at the end. */
  checks(): GateResult[];
  /** Why a complete run measured nothing at all, else null. */
  nothing(): UsageError | null;
}

/** Where results become rows. */
export interface ResultTables<Result> {
  rows: Record<string, number>;
  add(result: Result): void;
  finish(): void;
}

/**
 * Run all prompts and publish the run directory.
 *
 * If a harness gate fails no prompt counts: controls.json and the manifest say why. The same holds for the experiment's own
 * checks, which are known at the end. Interrupted, what is finished is published, and the journal stays.
 * @returns the gates and the checks; `valid`: no harness gate failed
 * @throws InterruptedError; the experiment's UsageError where nothing was measured
 */
export async function runExperiment<Result>(
  options: ExperimentOptions,
  experiment: Experiment<Result>,
): Promise<{ gates: GateResult[]; valid: boolean }> {
  const { prompts, run, signal } = options;
  const subject: RunSubject = { ...options, hooks: '' };
  let journal: Journal<Result> | undefined;
  try {
    const identity = await runIdentity('patch', subject, { spec: experiment.identity });
    options.onProgress?.({ stage: 'gates', done: 0, total: prompts.length, from: 0 });
    const gates = await runGates({ ...options, prompt: prompts[0], continuation: prompts[0].continuation ?? [] });
    const harness = harnessHolds(gates);
    const tables = experiment.tables(subject, identity);
    let finished = 0;
    if (harness) {
      journal = Journal.open(run.path, identity, (value) => experiment.parse(value));
      const take = (result: Result) => {
        tables.add(result);
        experiment.take(result);
        finished += 1;
      };
      await runPrompts(options, experiment, gates, journal, take);
    }
    const complete = !harness || finished === prompts.length;
    const nothing = complete && harness ? experiment.nothing() : null;
    if (nothing) {
      journal?.remove();
      throw nothing;
    }
    const all = [...gates, ...(harness ? experiment.checks() : [])];
    tables.finish();
    const provenance = {
      ...runProvenance(subject, { workers: options.workers, spec: options.spec }),
      ...{ finishedPrompts: finished, files: run.files, rows: tables.rows },
    };
    run.publish({ gates: all }, { identity, provenance });
    if (!complete && signal?.aborted) {
      throw new InterruptedError(
        `interrupted after ${finished} of ${prompts.length} prompts; they are in ${run.path}, and --resume --out ${run.path} goes on`,
      );
    }
    journal?.remove();
    return { gates: all, valid: harnessHolds(all) };
  } catch (error) {
    run.abort();
    throw error;
  } finally {
    journal?.close();
  }
}

/** What earlier sittings finished, then the rest. Prompts are taken in their order. */
async function runPrompts<Result>(
  { policy, prompts, workers, onProgress, signal }: ExperimentOptions,
  experiment: Experiment<Result>,
  gates: readonly GateResult[],
  journal: Journal<Result>,
  take: (result: Result) => void,
): Promise<void> {
  // Results are journalled in the order of the prompts: those that are there are the first ones.
  for (const result of journal.entries) take(result);
  const from = journal.entries.length;
  const rest = prompts.slice(from);
  const report = (done: number) => onProgress?.({ stage: 'prompts', done, total: prompts.length, from });
  report(from);
  if (rest.length === 0) return;
  const plan = standInHolds(policy, gates) ? 'stand-in' : 'recompute';
  const pool = experiment.open(plan, Math.min(workers, rest.length));
  let done = from;
  try {
    const taken = (result: Result) => {
      journal.append(result);
      take(result);
      done += 1;
      report(done);
    };
    await pool.runInOrder(rest.map(promptInput), taken, signal);
  } finally {
    await pool.close();
  }
}
