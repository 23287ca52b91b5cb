/** The result object of `patch` for an attribution. A failed harness gate or check leaves no number in it. */
import type { AttributionSummary, ClassesSummary, NullFound } from '../patching/attribution/run/summary.ts';
import type { Result } from './contract.ts';
import { toMeasure } from './contract-parts.ts';
import { nothingElse } from './patch-nothing.ts';

type PatchResult = Result<'patch'>;

/** What a run found, for programs. `run` is the run directory. */
export function attributionResult(summary: AttributionSummary, run: string): PatchResult {
  const { gates, spec, model, precision, kernels, strategy, decodeRows, prompts, steps, spotChecks, valid } = summary;
  const failed = gates.filter((gate) => !gate.passed).map(({ name }) => name);
  return {
    ...nothingElse(),
    ...{ run, gates: { passed: failed.length === 0, failed, results: gates }, spec: spec.name },
    ...{ model, precision, kernels, strategy, decodeRows, prompts, steps, patchedSteps: steps },
    spotChecks,
    classes: valid ? summary.classes.map(classesResult) : [],
    places: valid ? placesResult(summary) : null,
    amplification: valid ? amplificationResult(summary) : null,
    nulls: valid ? summary.nulls.map(nullResult) : [],
  };
}

const orNull = (value: number | null) => (value === null ? null : toMeasure(value));

function classesResult({ history, all, none, parts }: ClassesSummary): PatchResult['classes'][number] {
  return {
    ...{ history, all: toMeasure(all), none: toMeasure(none) },
    parts: parts.map(({ operation, shapley, share, interval, oneIn, leaveOneOut }) => ({
      ...{ class: operation, shapley: toMeasure(shapley), share: orNull(share) },
      ...{ low: orNull(interval?.low ?? null), high: orNull(interval?.high ?? null) },
      ...{ oneIn: toMeasure(oneIn), leaveOneOut: toMeasure(leaveOneOut) },
    })),
  };
}

function placesResult({ places }: AttributionSummary): PatchResult['places'] {
  if (places === null) return null;
  const parts = places.parts.map(({ place, oneIn, leaveOneOut }) => ({
    ...{ place, oneIn: toMeasure(oneIn), leaveOneOut: toMeasure(leaveOneOut) },
  }));
  return { all: toMeasure(places.all), none: toMeasure(places.none), parts };
}

function amplificationResult({ gains }: AttributionSummary): PatchResult['amplification'] {
  if (gains === null) return null;
  const { observed, predictedActual, predictedRandom } = gains.drift;
  return {
    layers: gains.layers.map(({ layer, actual, random, steps }) => ({
      ...{ layer, actual: orNull(actual), random: orNull(random), steps },
    })),
    ...{ observed: toMeasure(observed), predictedActual: toMeasure(predictedActual) },
    predictedRandom: toMeasure(predictedRandom),
  };
}

function nullResult(found: NullFound): PatchResult['nulls'][number] {
  const {
    null: name,
    seeds,
    mean,
    quantiles,
    max,
    ceiling,
    observed,
    below,
    beyond,
    classes,
    unaffected,
    flipped,
  } = found;
  return {
    ...{ null: name, seeds, mean: toMeasure(mean), q95: toMeasure(quantiles.q95), q999: toMeasure(quantiles.q999) },
    ...{ max: toMeasure(max), ceiling: toMeasure(ceiling), observed: toMeasure(observed), below, beyond },
    ...{ classes: [...classes], unaffected, flipped: orNull(flipped) },
  };
}
