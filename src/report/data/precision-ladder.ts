/** Is it precision: the mean drift of the logits by the unit roundoff of the storage type, for each model and kernel preset. */
import { unitRoundoff } from '../../numerics/types.ts';
import type { Measured } from '../../study/outcome/types.ts';
import { readManifest } from './manifest.ts';
import { isMissing, type Missing } from './missing.ts';
import { type ConditionWithResults, readResults } from './outcomes.ts';
import type { RunTables } from './run-tables.ts';

/** One condition: null where a distance is not a number. */
export interface LadderPoint {
  condition: string;
  precision: string;
  kernels: string;
  /** Unit roundoff of the type that activations are stored in. */
  u: number;
  /** Rounds nowhere but in its weights, which both arms share. */
  weightsOnly: boolean;
  l2: Measured | null;
  kl: Measured | null;
}

export interface LadderModel {
  model: string;
  points: LadderPoint[];
}

export interface PrecisionLadderData {
  strategy: string;
  /** Mean over so many steps of the first condition, and its prompts. */
  steps: number;
  prompts: number;
  models: LadderModel[];
  /** In the order of the study. */
  kernels: string[];
  /** Models that are not drawn. */
  left: number;
}

const mostModels = 3;

/** @param selection `strategy`: default the study's first; `models`: default its first three */
export async function precisionLadderData(
  run: RunTables,
  selection: { strategy?: string; models?: readonly string[] } = {},
): Promise<PrecisionLadderData | Missing> {
  const conditions = await readResults(run);
  if (isMissing(conditions)) return conditions;
  const { storage } = await readManifest(run);
  const plain = conditions.filter(({ padding, coupling }) => padding === 0 && coupling === 'keyed');
  const strategy = selection.strategy ?? plain[0]?.strategy ?? '';
  const own = plain.filter((each) => each.strategy === strategy && storage.has(each.precision));
  const command = 'kvlens study --preset paper --out FOLDER';
  if (own.length === 0) return { missing: `No condition of strategy ${strategy} with keyed random numbers.`, command };
  if (new Set(own.map(({ precision }) => precision)).size < 2)
    return { missing: 'Only one precision: a ladder takes two.', command };
  const names = [...new Set(own.map(({ model }) => model))];
  const shown = names.filter((name) => selection.models?.includes(name) ?? true).slice(0, mostModels);
  if (shown.length === 0) return { missing: 'No such model in outcomes.json.', command };
  const point = ({ condition, precision, kernels, results: { drift } }: ConditionWithResults): LadderPoint[] => {
    const type = storage.get(precision);
    if (type === undefined) return [];
    const weightsOnly = type === 'f32' && precision !== 'fp32';
    return [{ condition, precision, kernels, u: unitRoundoff(type), weightsOnly, l2: drift.l2, kl: drift.kl }];
  };
  return {
    ...{ strategy, steps: own[0].results.steps, prompts: own[0].results.prompts },
    models: shown.map((model) => ({ model, points: own.filter((each) => each.model === model).flatMap(point) })),
    kernels: [...new Set(own.map(({ kernels }) => kernels))],
    left: names.length - shown.length,
  };
}
