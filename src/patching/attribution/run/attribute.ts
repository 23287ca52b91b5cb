/** The experiment that shares the drift out, and its nulls: every prompt under a spec's measurements. */
import { referenceTo } from '../../../checkpoint/expand-kv.ts';
import { UsageError } from '../../../errors.ts';
import { isEmulated } from '../../../graph/kernels.ts';
import { strategyName } from '../../../model/sampling/index.ts';
import { type Experiment, type ExperimentOptions, runExperiment } from '../../run/experiment.ts';
import { type AttributionSpec, checkAttribution } from '../../specification/attribution-spec.ts';
import { attributionCheckResults, mergeAttributionChecks, noAttributionChecks } from './checks.ts';
import type { AttributedPrompt } from './prompt.ts';
import { openAttributionPool } from './runner.ts';
import { parseAttributed } from './schema.ts';
import { type AttributionSummary, AttributionSums } from './summary.ts';
import { AttributionTables } from './tables.ts';

/** A run of the experiment `attribution`. */
export interface AttributeOptions extends ExperimentOptions {
  spec: AttributionSpec;
}

/**
 * Run a spec on all prompts and publish the run directory; `prompts` of the spec is for the caller to heed.
 *
 * The checks of what was measured count as harness gates: see `runExperiment` for what a failed one means.
 * @throws UsageError for a condition under which the measurements mean nothing, or prompts that leave no decode step;
 *   InterruptedError.
 */
export async function attribute(options: AttributeOptions): Promise<AttributionSummary> {
  const { checkpoint, policy, kernels, strategy, threads, maxNewTokens, ignoreEos, spec } = options;
  const sums = new AttributionSums(spec);
  let checks = noAttributionChecks();
  const experiment: Experiment<AttributedPrompt> = {
    identity: spec,
    tables: (subject, identity) => new AttributionTables(subject, identity, spec),
    open: (uncachedPlan, workers) => {
      const condition = { checkpoint: referenceTo(checkpoint), policy, kernels, strategy, threads };
      return openAttributionPool({ ...condition, maxNewTokens, ignoreEos, uncachedPlan, spec }, workers);
    },
    parse: parseAttributed,
    take: (result) => {
      sums.add(result);
      checks = mergeAttributionChecks(checks, result.checks);
    },
    checks: () => attributionCheckResults(checks, spec.of, policy),
    nothing: () => (sums.steps > 0 ? null : noSteps(spec)),
  };
  try {
    checkAttribution(spec, options);
  } catch (error) {
    options.run.abort();
    throw error;
  }
  const found = await runExperiment(options, experiment);
  return {
    ...{ model: checkpoint.name, precision: policy.name, kernels: kernels.name, strategy: strategyName(strategy) },
    ...{ decodeRows: 1, emulated: isEmulated(kernels), spec, ...found, ...sums.summary(checkpoint.config) },
  };
}

function noSteps({ name }: AttributionSpec): UsageError {
  return new UsageError(
    `${name}: no prompt has a decode step: each ends with its first new token, or fills the context`,
    'give more --max-new-tokens, --ignore-eos, or shorter prompts',
  );
}
