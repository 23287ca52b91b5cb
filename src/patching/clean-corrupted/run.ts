/**
 * A clean/corrupted run: gates on the clean prompt, the sweep, then tables, controls and the manifest. Cells are journalled as
 * they are finished, so that an interrupted run goes on where it stopped.
 */
import { z } from 'zod';
import { runGates } from '../../divergence/gates/index.ts';
import { runIdentity, runProvenance } from '../../divergence/identity.ts';
import type { RunSubject } from '../../divergence/run-subject.ts';
import type { GateResult } from '../../divergence/summary.ts';
import { InterruptedError } from '../../errors.ts';
import { Model } from '../../model/model.ts';
import { Journal } from '../../store/journal.ts';
import type { CleanCorruptedSpec } from '../specification/clean-corrupted.ts';
import {
  type Baselines,
  type CellDistance,
  type CleanCorruptedRow,
  CleanCorruptedRun,
} from '../sweep/clean-corrupted.ts';
import { tokenLabel } from '../sweep/labels.ts';
import type { SweepMethod } from '../sweep/sweep.ts';
import { type ResolvedCleanCorrupted, resolveCleanCorrupted } from './resolve.ts';
import { sweepRecord } from './sweep-record.ts';
import { CleanCorruptedTables } from './tables.ts';

/** How far a run is. */
export interface CleanCorruptedProgress {
  stage: 'gates' | 'cells';
  done: number;
  total: number;
  /** Cells that an earlier sitting finished. */
  from: number;
}

/** A run of the experiment `clean-corrupted`. */
export interface CleanCorruptedRunOptions
  extends Pick<RunSubject, 'checkpoint' | 'policy' | 'kernels' | 'threads' | 'run' | 'signal'> {
  spec: CleanCorruptedSpec;
  workers: number;
  onProgress?: (progress: CleanCorruptedProgress) => void;
  /** Further files of the run, by path in its folder, from what a complete run found: figures. */
  files?: (summary: CleanCorruptedSummary) => Iterable<readonly [path: string, text: string]>;
}

/** What a run found. */
export interface CleanCorruptedSummary {
  model: string;
  precision: string;
  kernels: string;
  spec: CleanCorruptedSpec;
  gates: GateResult[];
  /** Null if a harness gate failed: nothing was swept. */
  found: CleanCorruptedFindings | null;
}

/** The numbers of a run. */
export interface CleanCorruptedFindings extends Baselines {
  /** Each grid and its rows, in row-major order of its axes. */
  grids: { kind: string; axes: CleanCorruptedRun['grids'][number]['axes']; rows: CleanCorruptedRow[] }[];
  /** Labels of the tokens of both prompts. */
  tokens: { clean: string; corrupted: string; differs: boolean }[];
  /** Positions whose tokens differ. */
  differing: number[];
  /** The tokens of a logit difference, as labels. */
  pair: { answer: string; wrong: string } | null;
  method: SweepMethod;
}

/** Pieces of the journal: cells that were finished together. */
type Entry = { key: string; value: CellDistance }[];
const number = z.custom<number>((value) => typeof value === 'number', { error: 'a number' });
const cell = z.strictObject({ distance: number, kl: number, differ: z.int(), token: z.int(), metric: number });
const entry: z.ZodType<Entry> = z.array(z.strictObject({ key: z.string(), value: cell }));

/**
 * Run a clean/corrupted spec and publish the run directory.
 *
 * If a harness gate fails nothing is swept: controls.json and the manifest say why. Interrupted, finished cells are published,
 * and the journal stays.
 * @throws InputError or UsageError for what does not fit the model; InterruptedError.
 */
export async function patchCleanCorrupted(options: CleanCorruptedRunOptions): Promise<CleanCorruptedSummary> {
  const { checkpoint, policy, kernels, threads, spec, run } = options;
  const model = Model.from({ checkpoint, policy, kernels, threads });
  let journal: Journal<Entry> | undefined;
  try {
    const resolved = resolveCleanCorrupted(spec, checkpoint, kernels);
    const subject = runSubject(options, resolved);
    const identity = await runIdentity('patch', subject, { spec });
    options.onProgress?.({ stage: 'gates', done: 0, total: 0, from: 0 });
    const gates = await runGates({ ...subject, prompt: resolved.clean });
    const holds = gates.every((gate) => gate.class !== 'harness' || gate.passed);
    if (holds) journal = Journal.open(run.path, identity, (value) => entry.parse(value));
    const swept = journal ? await sweepCells(options, model, resolved, journal) : null;
    const rows = swept?.experiment.rows() ?? [];
    const all = [...gates, ...(swept ? [sweepRecord(swept.method, policy)] : [])];
    const tables = new CleanCorruptedTables(subject, identity, spec.name, rows);
    tables.finish();
    const summary = {
      ...{ model: checkpoint.name, precision: policy.name, kernels: kernels.name, spec, gates: all },
      found: swept?.method ? findings(model, resolved, swept.experiment, swept.method) : null,
    };
    if (summary.found) for (const [path, text] of options.files?.(summary) ?? []) run.writeText(path, text);
    const provenance = {
      ...runProvenance(subject, { workers: options.workers, spec }),
      ...{ finishedCells: rows.length, files: run.files, rows: tables.rows },
    };
    run.publish({ gates: all }, { identity, provenance });
    if (swept && swept.method === null) {
      const { length } = swept.experiment.cells;
      throw new InterruptedError(
        `interrupted after ${rows.length} of ${length} cells; they are in ${run.path}, and --resume --out ${run.path} goes on`,
      );
    }
    journal?.remove();
    return summary;
  } catch (error) {
    run.abort();
    throw error;
  } finally {
    journal?.close();
    await model.release();
  }
}

/**
 * What earlier sittings finished, then the rest. Cells are journalled together with those they were finished with.
 * @returns `method` null if the signal fired
 */
async function sweepCells(
  { workers, signal, onProgress, spec }: CleanCorruptedRunOptions,
  model: Model,
  { clean, corrupted, grids, metric }: ResolvedCleanCorrupted,
  journal: Journal<Entry>,
): Promise<{ experiment: CleanCorruptedRun; method: SweepMethod | null }> {
  const experiment = await CleanCorruptedRun.open({
    ...{ model, clean: clean.tokens, corrupted: corrupted.tokens, grids, metric },
    ...{ condition: '', prompt: corrupted.id, spec: spec.name },
  });
  // A cell may stand there twice: the later value counts.
  const finished = new Map(journal.entries.flatMap((cells) => cells.map(({ key, value }) => [key, value] as const)));
  let fresh: Entry = [];
  const flush = () => {
    if (fresh.length > 0) journal.append(fresh);
    fresh = [];
  };
  try {
    const method = await experiment.sweep({
      ...{ workers, finished },
      ...(signal === undefined ? {} : { signal }),
      onCell: (cell) => fresh.push(cell),
      onProgress: ({ done, total }) => {
        flush();
        onProgress?.({ stage: 'cells', done, total, from: finished.size });
      },
    });
    return { experiment, method };
  } catch (error) {
    if (error instanceof InterruptedError) return { experiment, method: null };
    throw error;
  }
}

/** Gates and tables are about the clean prompt and both prompts; nothing is decoded. */
function runSubject(options: CleanCorruptedRunOptions, { clean, corrupted }: ResolvedCleanCorrupted): RunSubject {
  const { checkpoint, policy, kernels, threads, run, signal } = options;
  return {
    ...{ checkpoint, policy, kernels, threads, run, prompts: [clean, corrupted] },
    ...{ strategy: { kind: 'greedy' }, maxNewTokens: 0, hooks: '', decodeRows: 1, ignoreEos: false, template: '' },
    ...(signal === undefined ? {} : { signal }),
  };
}

function findings(
  model: Model,
  { clean, corrupted, pair }: ResolvedCleanCorrupted,
  experiment: CleanCorruptedRun,
  method: SweepMethod,
): CleanCorruptedFindings {
  const label = (token: number) => tokenLabel(model, token);
  const rows = experiment.rows();
  let at = 0;
  return {
    ...experiment.baselines,
    grids: experiment.grids.map(({ kind, axes }) => {
      const size = axes.reduce((product, { labels }) => product * labels.length, 1);
      at += size;
      return { kind, axes, rows: rows.slice(at - size, at) };
    }),
    tokens: corrupted.tokens.map((token, i) => ({
      ...{ clean: label(clean.tokens[i]), corrupted: label(token), differs: token !== clean.tokens[i] },
    })),
    ...{ differing: experiment.differing, method },
    pair: pair && { answer: label(pair.answer), wrong: label(pair.wrong) },
  };
}
