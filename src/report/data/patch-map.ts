/**
 * Patches that replace one layer at a time, as maps of recovery: layers by heads, by positions of one prompt, or by hooks.
 */

import { Columns } from './columns.ts';
import type { RunCondition } from './conditions.ts';
import { focusOf, readConditions } from './conditions.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';
import { tokenTexts } from './token-texts.ts';

/** What the columns of the maps are. */
export type PatchAxisName = 'head' | 'position' | 'hook';

export interface PatchMap {
  condition: RunCondition;
  spec: string;
  /** Name of the metric of two prompts; null where the uncached arm is what recovery is measured against. */
  metric: string | null;
  axis: PatchAxisName;
  /** Labels of the columns: `0`, a token as the vocabulary has it, the name of a hook. */
  columns: readonly string[];
  layers: readonly number[];
  panels: readonly PatchMapPanel[];
  /** Prompt–step pairs of a cell, at most, and the prompts they are of. */
  cells: number;
  prompts: number;
}

export interface PatchMapPanel {
  /** What is patched: `resid_pre`, `cache_k`. */
  name: string;
  /** Recovery by layer, then column; null where nothing was changed, or there is nothing to recover. */
  values: (number | null)[][];
}

interface Cell {
  kind: string;
  layer: number;
  head: number | null;
  position: number;
  prompts: Set<string>;
  count: number;
  changed: number;
  base: number;
  patched: number;
  /** Of two prompts: the value itself. */
  metric: number | null;
}

const missingPatches = (what: string): Missing => ({
  missing: what,
  command: 'kvlens patch MODEL kv-by-head --out FOLDER',
});

/** The maps of the first spec that has any. @param selection `condition`: default the first */
export async function patchMapData(
  run: RunTables,
  selection: { condition?: string } = {},
): Promise<PatchMap | Missing> {
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  if (!run.has('patches')) return { missing: 'No patches.arrow.', command: commands.patches };
  const focus = focusOf(conditions, selection.condition);
  if (isMissing(focus)) return focus;
  const specs = await readCells(run, focus.condition);
  for (const [spec, { cells, metric }] of specs) {
    const found = [...cells.values()];
    const layers = [...new Set(found.map(({ layer }) => layer))].sort((a, b) => a - b);
    if (layers.length < 2) continue;
    return mapOf(run, focus, { spec, metric, found, layers });
  }
  return missingPatches('No patches of single layers in patches.arrow.');
}

type Spec = { cells: Map<string, Cell>; metric: string | null };

/** Cells that patch one layer, at the patched step, by spec. */
async function readCells(run: RunTables, wanted: string): Promise<Map<string, Spec>> {
  const specs = new Map<string, Spec>();
  for await (const batch of run.batches('patches')) {
    const columns = new Columns('patches', batch);
    const [condition, prompt, spec, hook, component, metric] = (
      ['condition', 'prompt', 'spec', 'hook', 'component', 'metric'] as const
    ).map((name) => columns.texts(name));
    const [first, layer, horizon, position, changed, base, patched] = (
      ['first_layer', 'layer', 'horizon', 'pos_start', 'n_changed', 'distance_base', 'distance_patched'] as const
    ).map((name) => columns.required(name));
    const [head, value] = [columns.numbers('head'), columns.numbers('metric_recovery')];
    for (let row = 0; row < batch.numRows; row++) {
      const single = layer(row) >= 0 && first(row) === layer(row) && horizon(row) === 0;
      if (!single || condition(row) !== wanted || hook(row) === 'none') continue;
      const own = specs.get(spec(row)) ?? { cells: new Map<string, Cell>(), metric: metric(row) || null };
      specs.set(spec(row), own);
      const kind = kindOf(hook(row), component(row));
      // Positions tell cells apart where one prompt is patched position by position.
      const at = own.metric === null || head(row) !== null ? -1 : position(row);
      const key = JSON.stringify([kind, layer(row), head(row), at]);
      const cell = own.cells.get(key) ?? {
        ...{ kind, layer: layer(row), head: head(row), position: at, prompts: new Set<string>() },
        ...{ count: 0, changed: 0, base: 0, patched: 0, metric: null },
      };
      own.cells.set(key, cell);
      cell.prompts.add(prompt(row));
      cell.count += 1;
      cell.changed += changed(row);
      cell.base += base(row);
      cell.patched += patched(row);
      cell.metric = value(row);
    }
  }
  return specs;
}

/** `blocks.3.attn.hook_cache_k` → `cache_k`; several hooks of a layer keep their names. */
function kindOf(hooks: string, component: string): string {
  const names = hooks
    .split(',')
    .map((hook) => hook.replace(/^blocks\.\d+\./, '').replace(/^(?:attn\.|mlp\.)?hook_/, ''));
  const which = component === 'k' || component === 'v' ? component : '';
  return `${names.join(' + ')}${which === '' || names.every((name) => name === which || name.endsWith(`_${which}`)) ? '' : ` ${which}`}`;
}

async function mapOf(
  run: RunTables,
  condition: RunCondition,
  { spec, metric, found, layers }: { spec: string; metric: string | null; found: readonly Cell[]; layers: number[] },
): Promise<PatchMap> {
  // Two prompts are read token by token first; heads are in the run's own figures.
  const byHead =
    found.some(({ head }) => head !== null) && !(metric !== null && found.some(({ head }) => head === null));
  const own = found.filter(({ head }) => (head !== null) === byHead);
  const axis: PatchAxisName = byHead ? 'head' : metric === null ? 'hook' : 'position';
  const kinds = [...new Set(own.map(({ kind }) => kind))];
  const placeOf = ({ head, position, kind }: Cell) =>
    axis === 'head' ? (head ?? 0) : axis === 'position' ? position : kinds.indexOf(kind);
  const places = [...new Set(own.map(placeOf))].sort((a, b) => a - b);
  const panels = axis === 'hook' ? [null] : kinds;
  const at = new Map(own.map((cell) => [JSON.stringify([cell.kind, cell.layer, placeOf(cell)]), cell]));
  const value = (kind: string | null, layer: number, place: number) =>
    recoveryOf(at.get(JSON.stringify([kind ?? kinds[place], layer, place])), metric);
  const labels = axis === 'position' ? await tokensOf(run, condition.model, own) : null;
  return {
    ...{ condition, spec, metric, axis, layers },
    columns: places.map((place) => (axis === 'hook' ? kinds[place] : (labels?.[place] ?? String(place)))),
    panels: panels.map((kind) => ({
      name: kind ?? '',
      values: layers.map((layer) => places.map((place) => value(kind, layer, place))),
    })),
    cells: own.reduce((most, { count }) => Math.max(most, count), 0),
    prompts: new Set(own.flatMap(({ prompts }) => [...prompts])).size,
  };
}

function recoveryOf(cell: Cell | undefined, metric: string | null): number | null {
  if (!cell || cell.changed === 0) return null;
  if (metric !== null) return cell.metric;
  return cell.base === 0 ? null : 1 - cell.patched / cell.base;
}

/** Tokens of the one prompt that is patched by position, as the vocabulary has them. */
async function tokensOf(run: RunTables, model: string, cells: readonly Cell[]): Promise<string[]> {
  const [wanted] = cells.flatMap(({ prompts }) => [...prompts]);
  for await (const batch of run.batches('prompts')) {
    const columns = new Columns('prompts', batch);
    const [prompt, tokens] = [columns.texts('prompt'), columns.lists('tokens')];
    for (let row = 0; row < batch.numRows; row++) {
      if (prompt(row) !== wanted) continue;
      const ids = tokens(row);
      const texts = await tokenTexts(run, model, new Set(ids));
      return ids.map((id) => texts.get(id) ?? `#${id}`);
    }
  }
  return [];
}
