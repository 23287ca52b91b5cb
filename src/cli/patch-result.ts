/** The result object of `patch` from a run's summary. A failed harness gate or exactness check leaves no number in it. */
import type { CellSummary, HorizonSummary, PatchSummary } from '../patching/run/summary.ts';
import type { Result } from './contract.ts';
import { toMeasure } from './contract-parts.ts';
import { nothingElse } from './patch-nothing.ts';

/** What a run found, for programs. `run` is the run directory. */
export function patchResult(summary: PatchSummary, run: string): Result<'patch'> {
  const { gates, spec, model, precision, kernels, strategy, decodeRows, prompts, steps, patchedSteps } = summary;
  const failed = gates.filter((gate) => !gate.passed).map(({ name }) => name);
  return {
    ...nothingElse(),
    run,
    cells: summary.valid ? summary.cells.map(cellResult) : [],
    gates: { passed: failed.length === 0, failed, results: gates },
    spec: spec.name,
    ...{ model, precision, kernels, strategy, decodeRows, prompts, steps, patchedSteps },
    attribution: summary.valid
      ? summary.parts.map(({ part, value, oneIn, share }) => ({
          part,
          value: toMeasure(value),
          oneIn: toMeasure(oneIn),
          share: share === null ? null : toMeasure(share),
        }))
      : [],
    spotChecks: summary.spotChecks,
    planted: [...summary.planted],
  };
}

function cellResult({ history, kernel, patch, label, age, count, unchanged, horizons, tokens }: CellSummary) {
  const [first] = horizons;
  return {
    ...{ history, kernel, patch },
    recovery: first === undefined || first.recovery === null ? null : toMeasure(first.recovery),
    exact: first !== undefined && first.count > 0 && first.exact === first.count,
    ...{ hook: label.hook, layer: label.layer, firstLayer: label.firstLayer, head: label.head },
    ...{ component: label.component, age, count, unchanged },
    horizons: horizons.map(horizonResult),
    ...{ tokens, cleanCorrupted: null },
  };
}

function horizonResult(of: HorizonSummary) {
  const { horizon, count, exact, vacuous, harmful, byConstruction } = of;
  const measured = (value: number | null) => (value === null ? null : toMeasure(value));
  return {
    horizon,
    recovery: measured(of.recovery),
    low: measured(of.interval?.low ?? null),
    high: measured(of.interval?.high ?? null),
    recoveryKl: measured(of.recoveryKl),
    distanceBase: toMeasure(of.distanceBase),
    distancePatched: toMeasure(of.distancePatched),
    ...{ count, exact, vacuous, harmful, byConstruction },
  };
}
