/** From one condition's record to its results. */
import { accuracyOf } from './accuracy.ts';
import type { ConditionRecord } from './condition-record.ts';
import { firstDivergence, flipRate, sampledPrediction, sequenceDivergence } from './divergence.ts';
import {
  cellRecovery,
  driftOf,
  honestSteps,
  layerDrift,
  orderMatchedOutcome,
  references,
  temperatureDrift,
} from './drift.ts';
import type { PromptRecord } from './record.ts';
import type { ConditionResults, PlaceboOutcome } from './types.ts';

export function conditionResults(record: ConditionRecord): ConditionResults {
  const { condition, prompts, prediction, placebo } = record;
  const total = (of: (prompt: PromptRecord) => number) => prompts.reduce((sum, prompt) => sum + of(prompt), 0);
  const hooks = new Set(prompts.flatMap(({ nonfinite: { hook } }) => hook ?? []));
  return {
    prompts: prompts.length,
    steps: total(({ sums }) => sums.steps),
    differingSteps: total(({ sums }) => sums.differing),
    planted: total(({ planted }) => (planted ? 1 : 0)),
    accuracy: accuracyOf(prompts),
    divergence: sequenceDivergence(prompts),
    firstDivergence: firstDivergence(prompts, placebo.drift),
    flips: flipRate(prompts),
    prediction: condition.strategy.kind === 'greedy' ? prediction : sampledPrediction(prompts, condition),
    drift: driftOf(prompts),
    reference: references(prompts),
    layers: layerDrift(prompts),
    cells: cellRecovery(prompts),
    orderMatched: orderMatchedOutcome(prompts),
    temperatures: temperatureDrift(prompts),
    placebo: placeboOutcome(record),
    uncached: honestSteps(prompts),
    nonfinite: {
      elements: total(({ nonfinite }) => nonfinite.elements),
      nan: total(({ nonfinite }) => nonfinite.nan),
      hooks: [...hooks].sort(),
    },
  };
}

function placeboOutcome({ prompts, placebo: { samples, drift, bins } }: ConditionRecord): PlaceboOutcome | null {
  const found = prompts.flatMap(({ placebo }) => placebo ?? []);
  if (found.length === 0) return null;
  return {
    prompts: found.length,
    seeds: found.reduce((most, { correct, texts }) => Math.max(most, correct.length, texts), 0),
    ...{ samples, drift, bins },
    texts: found.reduce((sum, { texts }) => sum + texts, 0),
    diverged: found.reduce((sum, { diverged }) => sum + diverged, 0),
  };
}
