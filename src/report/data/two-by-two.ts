/** Cache or kernel: the distance to the uncached arm in the four cells of history × kernel. */
import { beside, focusOf, type RunCondition, readConditions, sharedName, shortNames } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import { type CellAt, type PatchCell, readPatchCells } from './patch-cells.ts';
import type { RunTables } from './run-tables.ts';

export const histories = ['cached', 'recomputed'] as const;
export const kernels = ['decode', 'prefill'] as const;

/** The patched step in one cell of the 2×2. */
export interface FactorCell extends CellAt {
  history: (typeof histories)[number];
  kernel: (typeof kernels)[number];
}

export interface TwoByTwoPanel {
  condition: string;
  name: string;
  spec: string;
  /** In the order cached decode, cached prefill, recomputed decode, recomputed prefill. */
  cells: FactorCell[];
}

export interface TwoByTwoData {
  /** The focus first. */
  panels: TwoByTwoPanel[];
  shared: string;
  /** Conditions with a 2×2 that have no panel. */
  more: number;
}

const mostPanels = 6;

/** Read the 2×2 of a condition and of those beside it. @param selection `condition`: default the first that has one */
export async function twoByTwoData(
  run: RunTables,
  selection: { condition?: string; conditions?: readonly string[] } = {},
): Promise<TwoByTwoData | Missing> {
  const all = await readConditions(run);
  if (isMissing(all)) return all;
  if (!run.has('patches')) return { missing: 'No patches.arrow.', command: commands.patches };
  const cells = await readPatchCells(run, null);
  const found = all.flatMap((condition) => {
    const panel = factors(cells.get(condition.condition) ?? []);
    return panel ? [{ condition, panel }] : [];
  });
  const conditions = found.map(({ condition }) => condition);
  if (conditions.length === 0)
    return { missing: 'No 2×2 of history and kernel in patches.arrow.', command: commands.patches };
  const focus = focusOf(conditions, selection.condition);
  if (isMissing(focus)) return { missing: `No 2×2 of ${selection.condition}.`, command: commands.patches };
  const chosen = beside(conditions, focus, { asked: selection.conditions, most: mostPanels });
  return { panels: panelsOf(chosen, found), shared: sharedName(chosen), more: conditions.length - chosen.length };
}

function panelsOf(
  chosen: readonly RunCondition[],
  found: readonly { condition: RunCondition; panel: Pick<TwoByTwoPanel, 'spec' | 'cells'> }[],
): TwoByTwoPanel[] {
  const names = shortNames(chosen);
  return chosen.flatMap(({ condition }) => {
    const own = found.find((each) => each.condition.condition === condition);
    return own ? [{ condition, name: names.get(condition) ?? condition, ...own.panel }] : [];
  });
}

/** The 2×2 of the first spec that has all of it; histories of some layers or heads alone are no part of it. */
function factors(cells: readonly PatchCell[]): Pick<TwoByTwoPanel, 'spec' | 'cells'> | null {
  for (const spec of new Set(cells.map((cell) => cell.spec))) {
    const own = cells.filter((cell) => cell.spec === spec);
    const whole = Math.max(...own.map(({ layer }) => layer));
    const four = histories.flatMap((history) =>
      kernels.flatMap((kernel) => {
        const cell = own.find((each) => each.history === history && each.kernel === kernel && isWhole(each, whole));
        const at = cell?.at.find(({ horizon }) => horizon === 0);
        return at ? [{ ...at, history, kernel }] : [];
      }),
    );
    if (four.length === 4) return { spec, cells: four };
  }
  return null;
}

/** Nothing but history and kernel is replaced: the history in every layer, or nowhere. */
export function isWhole({ history, hook, head, firstLayer, layer }: PatchCell, whole: number): boolean {
  if (history === 'cached') return hook === 'none';
  const cacheOnly = hook.split(',').every((name) => name === 'none' || name.includes('hook_cache_'));
  return cacheOnly && head === null && layer === whole && firstLayer <= 0;
}
