/** The experiment on the two arms: every prompt under a spec's cells. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { referenceTo } from '../../checkpoint/expand-kv.ts';
import { UsageError } from '../../errors.ts';
import { isEmulated } from '../../graph/kernels.ts';
import { Executor } from '../../model/executor.ts';
import { describeFault } from '../../model/faults.ts';
import { strategyName } from '../../model/sampling/index.ts';
import { checkResults, mergeChecks, noChecks } from '../arms/checks.ts';
import { type ResolvedSpec, resolveSpec } from '../specification/resolve.ts';
import type { ArmsSpec } from '../specification/spec.ts';
import { type Experiment, type ExperimentOptions, runExperiment } from './experiment.ts';
import { openPatchPool, openSources } from './patch-runner.ts';
import { PatchTables } from './patch-tables.ts';
import type { PatchedPrompt } from './patched-prompt.ts';
import { parsePatched } from './patched-schema.ts';
import { type PatchSummary, PatchSums } from './summary.ts';

export type { PatchProgress } from './experiment.ts';

/** A run whose spec is of the experiment `arms`. */
export type PatchOptions = ExperimentOptions;

/**
 * Run a spec on all prompts and publish the run directory.
 *
 * The exactness checks of the patch path count as harness gates: see `runExperiment` for what a failed one means.
 * @throws UsageError for what the model does not have, or a spec that selects nothing; InputError for a run it takes values
 *   from; InterruptedError.
 */
export async function patch(options: PatchOptions): Promise<PatchSummary> {
  const { checkpoint, policy, kernels, strategy, prompts, threads, decodeRows, maxNewTokens, ignoreEos } = options;
  const { faults = [] } = options;
  const resolved = resolveSpec(options.spec, checkpoint.config, kernels);
  const sums = new PatchSums(resolved.cells, new Map(prompts.map(({ id, tokens }) => [id, tokens.length])));
  let checks = noChecks();
  try {
    await checkSources(options, resolved);
  } catch (error) {
    options.run.abort();
    throw error;
  }
  const experiment: Experiment<PatchedPrompt> = {
    identity: specIdentity(resolved.spec),
    tables: (subject, identity) => new PatchTables(subject, identity, resolved),
    open: (uncachedPlan, workers) => {
      const condition = { checkpoint: referenceTo(checkpoint), policy, kernels, strategy, threads, decodeRows };
      const ids = prompts.map(({ id }) => id);
      const config = { ...condition, maxNewTokens, ignoreEos, faults, uncachedPlan, spec: resolved.spec, prompts: ids };
      return openPatchPool(config, workers);
    },
    parse: parsePatched,
    take: (result) => {
      sums.add(result);
      checks = mergeChecks(checks, result.checks);
    },
    checks: () => checkResults(checks, policy),
    nothing: () => {
      const { cells, steps } = sums.summary();
      return cells.every(({ count }) => count === 0) ? nothingSelected(resolved.spec, steps) : null;
    },
  };
  const found = await runExperiment(options, experiment);
  return {
    ...{ model: checkpoint.name, precision: policy.name, kernels: kernels.name, strategy: strategyName(strategy) },
    ...{ decodeRows, spec: resolved.spec, ...found, ...sums.summary() },
    ...{ emulated: isEmulated(kernels), planted: faults.map(describeFault) },
  };
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

function nothingSelected({ name, steps, measure }: ArmsSpec, found: number): UsageError {
  return new UsageError(
    `${name}: steps ${JSON.stringify(steps)}, horizons ${JSON.stringify(measure.horizons)} and the positions of its patches select nothing in ${found} decode steps`,
    'give more --max-new-tokens, other steps, smaller horizons, or positions that the steps run: "last" for hooks, "history" for the cache',
  );
}
