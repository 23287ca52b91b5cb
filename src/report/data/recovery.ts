/** Does a patch last: recovery at the patched step and after it, for each kind of patch. */
import { beside, focusOf, type RunCondition, readConditions, sharedName, shortNames } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import { type PatchCell, readPatchCells } from './patch-cells.ts';
import type { RunTables } from './run-tables.ts';
import { isWhole } from './two-by-two.ts';

export interface RecoverySeries extends PatchCell {
  /** In words: `K/V history`, `history and kernel`, `residual, all layers`, `blocks.1.attn.hook_cache_k head 0`. */
  name: string;
  /** What it replaces, as far as colours and shapes go. */
  what: 'history' | 'kernel' | 'both' | 'residual' | 'other';
}

export interface RecoveryPanel {
  condition: string;
  name: string;
  series: RecoverySeries[];
  /** Kinds of patches that are not drawn. */
  left: number;
}

export interface RecoveryData {
  /** The focus first. */
  panels: RecoveryPanel[];
  shared: string;
  /** Conditions with patches that have no panel. */
  more: number;
}

const mostPanels = 6;
/** Series of a panel: more are not told apart. Those that recover most come first. */
const mostSeries = 5;

/** Read the patches of a condition and of those beside it. @param selection `spec`: the patches of one spec alone */
export async function recoveryData(
  run: RunTables,
  selection: { condition?: string; conditions?: readonly string[]; spec?: string } = {},
): Promise<RecoveryData | Missing> {
  const all = await readConditions(run);
  if (isMissing(all)) return all;
  if (!run.has('patches')) return { missing: 'No patches.arrow.', command: commands.patches };
  const cells = await readPatchCells(run, null);
  const series = new Map(
    [...cells].map(([condition, own]) => [
      condition,
      seriesOf(own.filter(({ spec }) => selection.spec === undefined || spec === selection.spec)),
    ]),
  );
  const conditions = all.filter(({ condition }) => (series.get(condition) ?? []).length > 0);
  if (conditions.length === 0) return { missing: 'No patched cell in patches.arrow.', command: commands.patches };
  const focus = focusOf(conditions, selection.condition);
  if (isMissing(focus)) return { missing: `No patched cell of ${selection.condition}.`, command: commands.patches };
  const chosen = beside(conditions, focus, { asked: selection.conditions, most: mostPanels });
  return {
    panels: panelsOf(chosen, series),
    shared: sharedName(chosen),
    more: conditions.length - chosen.length,
  };
}

function panelsOf(
  chosen: readonly RunCondition[],
  series: ReadonlyMap<string, readonly RecoverySeries[]>,
): RecoveryPanel[] {
  const names = shortNames(chosen);
  return chosen.map(({ condition }) => {
    const own = series.get(condition) ?? [];
    // What replaces a whole factor is always shown.
    const rank = ({ what, at }: RecoverySeries) => (what === 'other' ? (at[0]?.recovery?.value ?? -1e9) : Infinity);
    const shown = own
      .map((each, i) => ({ each, i, rank: rank(each) }))
      .sort((a, b) => (a.rank === b.rank ? a.i - b.i : b.rank - a.rank))
      .slice(0, mostSeries)
      .map(({ each }) => each);
    return { condition, name: names.get(condition) ?? condition, series: shown, left: own.length - shown.length };
  });
}

/** Every kind of cell that replaces something. */
function seriesOf(cells: readonly PatchCell[]): RecoverySeries[] {
  const whole = new Map<string, number>();
  for (const { spec, layer } of cells) whole.set(spec, Math.max(whole.get(spec) ?? -1, layer));
  return cells.flatMap((cell) => {
    const factor = isWhole(cell, whole.get(cell.spec) ?? -1);
    const { history, kernel, hook } = cell;
    if (factor && history === 'cached' && kernel === 'decode') return [];
    if (factor && history === 'recomputed' && kernel === 'decode')
      return [{ ...cell, ...named('K/V history', 'history') }];
    if (factor && history === 'cached') return [{ ...cell, ...named('prefill kernel', 'kernel') }];
    if (factor) return [{ ...cell, ...named('both', 'both') }];
    const residual = hook.split(',').every((name) => /^blocks\.\*\.hook_resid_(pre|mid|post)$/.test(name));
    if (residual && cell.head === null) return [{ ...cell, ...named('residual, all layers', 'residual') }];
    return [{ ...cell, ...named(patchName(cell), 'other') }];
  });
}

const named = (name: string, what: RecoverySeries['what']) => ({ name, what });

function patchName({ hook, head, firstLayer, layer, history, kernel, component }: PatchCell): string {
  const layers = layer < 0 ? '' : firstLayer === layer ? `L${layer}` : `L${Math.max(0, firstLayer)}–${layer}`;
  const parts = [
    ...(hook === 'none' ? [`${history} history`] : [hook.replaceAll(/blocks\.(\*|\d+)\./g, '')]),
    ...(layers === '' ? [] : [layers]),
    ...(head === null ? [] : [`head ${head}`]),
    ...(component === 'k' || component === 'v' ? [component] : []),
    ...(kernel === 'prefill' ? ['prefill kernel'] : []),
  ];
  return parts.join(' ');
}
