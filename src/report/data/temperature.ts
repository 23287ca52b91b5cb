/** How far the arms' distributions lie apart by temperature: the bounds of a keyed Gumbel-max flip rate. */
import type { Measured } from '../../study/outcome/types.ts';
import { beside, focusOf, sharedName, shortNames } from './conditions.ts';
import { isMissing, type Missing } from './missing.ts';
import { readResults } from './outcomes.ts';
import type { RunTables } from './run-tables.ts';

export interface TemperatureCurve {
  condition: string;
  name: string;
  precision: string;
  kernels: string;
  steps: number;
  /** Ascending; mean per step; null where it is not a number. */
  at: { temperature: number; tv: Measured | null; upper: Measured | null }[];
}

export interface TemperatureData {
  /** The focus first. */
  curves: TemperatureCurve[];
  shared: string;
}

const mostCurves = 8;

export async function temperatureData(
  run: RunTables,
  selection: { condition?: string; conditions?: readonly string[] } = {},
): Promise<TemperatureData | Missing> {
  const all = await readResults(run);
  if (isMissing(all)) return all;
  const swept = all.filter(({ results }) => results.temperatures.length > 0);
  const command = 'kvlens study --preset paper --out FOLDER';
  if (swept.length === 0) return { missing: 'No temperatures in outcomes.json: the study asked for none.', command };
  const focus = focusOf(swept, selection.condition);
  if (isMissing(focus)) return { missing: `No temperatures of ${selection.condition}.`, command };
  const chosen = beside(swept, focus, { asked: selection.conditions, most: mostCurves });
  const names = shortNames(chosen);
  return {
    shared: sharedName(chosen),
    curves: chosen.flatMap(({ condition, precision, kernels }) => {
      const own = swept.find((each) => each.condition === condition);
      if (!own) return [];
      const at = own.results.temperatures.map(({ temperature, tv, upper }) => ({ temperature, tv, upper }));
      const name = names.get(condition) ?? condition;
      return [{ condition, name, precision, kernels, steps: own.results.steps, at }];
    }),
  };
}
