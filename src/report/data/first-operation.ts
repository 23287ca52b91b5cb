/** The first step that differs, operation by operation, under one condition or several. */
import { type ThumbnailSelection, thumbnailData } from './drift-map.ts';
import { cellStates, type LayerMap, type MapHook } from './layer-map.ts';
import { isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface Operation extends MapHook {
  /** Of `cellStates`. */
  state: number;
  relL2: number;
  differ: number;
  elements: number;
  maxUlp: number;
}

export interface FirstStep {
  map: LayerMap;
  /** The decode step; null where no step differs: then the operations are those of the last one. */
  step: number | null;
  /** Those captured at this step, in execution order. */
  operations: readonly Operation[];
  /** Place of the first that differs; null where none does. */
  first: number | null;
}

/** At most so many panels. */
const mostPanels = 6;

export async function firstOperationData(
  run: RunTables,
  selection: ThumbnailSelection = {},
): Promise<FirstStep[] | Missing> {
  const maps = await thumbnailData(run, selection);
  return isMissing(maps) ? maps : maps.slice(0, mostPanels).map(firstStepOf);
}

/** The first step of a map with an element that differs. */
export function firstStepOf(map: LayerMap): FirstStep {
  const { steps, hooks, states, values } = map;
  const differs = (hook: number, step: number) => values.n_differ[hook * steps.length + step] > 0;
  const found = steps.findIndex((_, step) => hooks.some((_, hook) => differs(hook, step)));
  const step = found < 0 ? steps.length - 1 : found;
  const operations = hooks.flatMap((own, hook): Operation[] => {
    const index = hook * steps.length + step;
    if (states[index] === cellStates.notCaptured) return [];
    return [
      {
        ...own,
        ...{ state: states[index], relL2: values.rel_l2[index], differ: values.n_differ[index] },
        ...{ elements: values.n_elements[index], maxUlp: values.max_ulp[index] },
      },
    ];
  });
  const first = operations.findIndex(({ differ }) => differ > 0);
  return { map, step: found < 0 ? null : steps[found].step, operations, first: first < 0 ? null : first };
}
