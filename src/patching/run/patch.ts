/**
 * A patch run: gates, every prompt under the spec, then tables, controls and the manifest. Prompts run in worker threads and
 * are written in their order; each is journalled as it is finished, so that an interrupted run goes on where it stopped.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceTo } from '../../checkpoint/expand-kv.ts';
import { runGates } from '../../divergence/gates/index.ts';
import { runIdentity, runProvenance } from '../../divergence/identity.ts';
import { promptInput } from '../../divergence/prompt-runner.ts';
import type { RunSubject } from '../../divergence/run-subject.ts';
import { standInHolds } from '../../divergence/stand-in.ts';
import type { GateResult } from '../../divergence/summary.ts';
import { InterruptedError, UsageError } from '../../errors.ts';
import { Executor } from '../../model/executor.ts';
import { strategyName } from '../../model/sampling/index.ts';
import { Journal } from '../../store/journal.ts';
import { checkResults, mergeChecks, noChecks } from '../arms/checks.ts';
import { type ResolvedSpec, resolveSpec } from '../spec/resolve.ts';
import type { ArmsSpec, PatchSpec } from '../spec/spec.ts';
import { openPatchPool, openSources } from './patch-runner.ts';
import { PatchTables } from './patch-tables.ts';
import { parsePatched } from './patched-schema.ts';
import type { PatchedPrompt } from './prompt-patching.ts';
import { type PatchSummary, PatchSums } from './summary.ts';

/** How far a run is. */
export interface PatchProgress {
  stage: 'gates' | 'prompts';
  done: number;
  total: number;
  /** Prompts that an earlier sitting finished. */
  from: number;
}

export interface PatchOptions extends Omit<RunSubject, 'hooks'> {
  /** Of the experiment `arms`. */
  spec: PatchSpec;
  workers: number;
  onProgress?: (progress: PatchProgress) => void;
}

/**
 * Run a spec on all prompts and publish the run directory.
 *
 * If a harness gate fails no prompt counts: controls.json and the manifest say why. The same holds for the exactness checks
 * of the patch path, which are known at the end. Interrupted, what is finished is published, and the journal stays.
 * @throws UsageError for what the model does not have, or a spec that selects nothing; InputError for a run it takes values
 *   from; InterruptedError.
 */
export async function patch(options: PatchOptions): Promise<PatchSummary> {
  const { checkpoint, policy, kernels, strategy, prompts, run, decodeRows, signal } = options;
  const subject: RunSubject = { ...options, hooks: '' };
  const resolved = resolveSpec(options.spec, checkpoint.config, kernels);
  let journal: Journal<PatchedPrompt> | undefined;
  try {
    await checkSources(options, resolved);
    const identity = await runIdentity('patch', subject, { spec: specIdentity(resolved.spec) });
    options.onProgress?.({ stage: 'gates', done: 0, total: prompts.length, from: 0 });
    const gates = await runGates({ ...options, prompt: prompts[0], continuation: prompts[0].continuation ?? [] });
    const harness = gates.every((gate) => gate.class !== 'harness' || gate.passed);
    const tables = new PatchTables(subject, identity, resolved);
    const sums = new PatchSums(resolved.cells, new Map(prompts.map(({ id, tokens }) => [id, tokens.length])));
    let checks = noChecks();
    let finished = 0;
    if (harness) {
      journal = Journal.open(run.path, identity, parsePatched);
      const take = (result: PatchedPrompt) => {
        tables.add(result);
        sums.add(result);
        checks = mergeChecks(checks, result.checks);
        finished += 1;
      };
      await runPrompts(options, resolved, gates, journal, take);
    }
    const found = sums.summary();
    const complete = !harness || finished === prompts.length;
    if (complete && harness && found.cells.every(({ count }) => count === 0)) {
      journal?.remove();
      throw nothingSelected(resolved.spec, found.steps);
    }
    const all = [...gates, ...(harness ? checkResults(checks, policy) : [])];
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
    return {
      ...{ model: checkpoint.name, precision: policy.name, kernels: kernels.name, strategy: strategyName(strategy) },
      ...{ decodeRows, spec: resolved.spec, gates: all, ...found },
      valid: all.every((gate) => gate.class !== 'harness' || gate.passed),
    };
  } catch (error) {
    run.abort();
    throw error;
  } finally {
    journal?.close();
  }
}

/** What earlier sittings finished, then the rest. Prompts are taken in their order. */
async function runPrompts(
  options: PatchOptions,
  resolved: ResolvedSpec,
  gates: readonly GateResult[],
  journal: Journal<PatchedPrompt>,
  take: (result: PatchedPrompt) => void,
): Promise<void> {
  const { checkpoint, policy, kernels, strategy, prompts, threads, decodeRows, maxNewTokens, ignoreEos } = options;
  // Results are journalled in the order of the prompts: those that are there are the first ones.
  for (const result of journal.entries) take(result);
  const from = journal.entries.length;
  const rest = prompts.slice(from);
  const report = (done: number) => options.onProgress?.({ stage: 'prompts', done, total: prompts.length, from });
  report(from);
  if (rest.length === 0) return;
  const pool = openPatchPool(
    {
      ...{
        checkpoint: referenceTo(checkpoint),
        policy,
        kernels,
        strategy,
        threads,
        decodeRows,
        maxNewTokens,
        ignoreEos,
      },
      uncachedPlan: standInHolds(policy, gates) ? 'stand-in' : 'recompute',
      spec: resolved.spec,
      prompts: prompts.map(({ id }) => id),
    },
    Math.min(options.workers, rest.length),
  );
  let done = from;
  try {
    const taken = (result: PatchedPrompt) => {
      journal.append(result);
      take(result);
      done += 1;
      report(done);
    };
    await pool.runInOrder(rest.map(promptInput), taken, options.signal);
  } finally {
    await pool.close();
  }
}

/** Before anything is computed: the runs that values come from must be there. */
async function checkSources(
  { checkpoint, policy, kernels, threads, prompts }: PatchOptions,
  resolved: ResolvedSpec,
): Promise<void> {
  if (resolved.saved.length === 0) return;
  const executor = new Executor({ checkpoint, policy, kernels, threads });
  await openSources(
    executor,
    resolved,
    prompts.map(({ id }) => id),
  );
}

/** The spec without paths: a run that values come from is named by what it is. */
function specIdentity(spec: ArmsSpec): unknown {
  const named = spec.patches.map(({ run, ...patch }) =>
    run === undefined ? patch : { ...patch, run: runDigest(run) },
  );
  return { ...spec, patches: named };
}

/** sha256 of what another run is: its identity. */
function runDigest(folder: string): string {
  const manifest = join(folder, 'manifest.json');
  const content = existsSync(manifest) ? readFileSync(manifest, 'utf8') : '{}';
  const value: unknown = JSON.parse(content);
  const identity = typeof value === 'object' && value !== null && 'identity' in value ? value.identity : null;
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex');
}

function nothingSelected({ name, steps }: ArmsSpec, found: number): UsageError {
  return new UsageError(
    `${name}: steps ${JSON.stringify(steps)} and the positions of its patches select nothing in ${found} decode steps`,
    'give more --max-new-tokens, other steps, or positions that the steps run: "last" for hooks, "history" for the cache',
  );
}
