/** Do margins and drift say how many tokens flip? Predicted and observed flips of a study's conditions. */
import { shortNames } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import { type ConditionWithResults, readResults } from './outcomes.ts';
import type { RunTables } from './run-tables.ts';

export interface FlipCondition {
  condition: string;
  name: string;
  precision: string;
  kernels: string;
  steps: number;
  /** Greedy: exact ties of the uncached arm excepted, they are apart. */
  observed: number;
  /** Greedy: from margins and the drift of other prompts. */
  predicted: number | null;
  /** Sampled by keyed Gumbel-max draws: between which numbers of flips the drift says it must be. */
  bounds: { lower: number; upper: number; within: boolean | null } | null;
}

/** Bins of the predicted probability of one greedy condition. */
export interface Calibration {
  condition: string;
  name: string;
  observed: number;
  predicted: number;
  steps: number;
  ratio: { value: number; lower: number | null; upper: number | null } | null;
  auc: number | null;
  tied: { steps: number; flips: number };
  bins: { predicted: number; observed: number; lower: number; upper: number; steps: number; flips: number }[];
}

export interface FlipPredictionData {
  conditions: FlipCondition[];
  /** Of the condition asked for, or the greedy one with most flips. */
  calibration: Calibration | null;
  /** Conditions whose draws promise no bound: inverse-CDF, or random numbers of each arm its own. */
  withoutBound: number;
}

export async function flipPredictionData(
  run: RunTables,
  selection: { condition?: string } = {},
): Promise<FlipPredictionData | Missing> {
  const conditions = await readResults(run);
  if (isMissing(conditions)) return conditions;
  const names = shortNames(conditions);
  const found = conditions.flatMap((each) => flipCondition(each, names.get(each.condition) ?? each.condition));
  const calibrated = conditions.flatMap((each) => calibration(each, names.get(each.condition) ?? each.condition));
  const asked = selection.condition;
  const focus =
    asked === undefined
      ? calibrated.toSorted((a, b) => b.observed - a.observed || b.predicted - a.predicted)[0]
      : calibrated.find(({ condition }) => condition === asked);
  const withoutBound = conditions.length - found.length;
  if (found.length === 0 && focus === undefined)
    return { missing: 'No prediction of flips in outcomes.json: it takes two prompts.', command: commands.study };
  return { conditions: found, calibration: focus ?? null, withoutBound };
}

function flipCondition({ results, ...each }: ConditionWithResults, name: string): FlipCondition[] {
  const { condition, precision, kernels } = each;
  const { prediction, steps, flips } = results;
  const common = { condition, name, precision, kernels };
  if (prediction?.kind === 'greedy') {
    const { observed, predicted } = prediction;
    return [{ ...common, steps: prediction.steps, observed, predicted, bounds: null }];
  }
  if (prediction?.coupling !== 'gumbel' || prediction.lower === null || prediction.upper === null) return [];
  const { lower, upper, within } = prediction;
  const bounds = { lower: lower.value * steps, upper: upper.value * steps, within };
  return [{ ...common, steps, observed: flips.flips, predicted: null, bounds }];
}

function calibration({ condition, results: { prediction } }: ConditionWithResults, name: string): Calibration[] {
  if (prediction?.kind !== 'greedy') return [];
  const { observed, predicted, steps, ratio, auc, tied } = prediction;
  const bins = prediction.calibration.map((bin) => ({
    ...{ predicted: bin.predicted / bin.steps, observed: bin.observed.value, steps: bin.steps, flips: bin.flips },
    ...{ lower: bin.observed.lower ?? bin.observed.value, upper: bin.observed.upper ?? bin.observed.value },
  }));
  return [{ condition, name, observed, predicted, steps, ratio, auc, tied, bins }];
}
