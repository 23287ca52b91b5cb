/** What the patches of a cell do at one step: rows of the history that is fed, and patches of hooks in the graph. */
import { findHook, type Hook, isCacheHook } from '../../graph/hooks.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Activation, Executor, Patch, Rows } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { type HistorySelection, overwriteHistory } from '../arms/history.ts';
import type { ArmTrace, Trajectory } from '../arms/trajectory.ts';
import { headCount, positionsAt, rowHooks, type Target } from '../specification/resolve.ts';
import { isRowAxis, type SourceRows } from './source-rows.ts';

/** The edits of one step. */
export interface StepEdits {
  /** Overwrite the selected history rows in place; elements that changed. */
  editHistory(history: KVCache): number;
  /** Patches for the rows that run. */
  patches(rows: Rows): Patch[];
  /** Elements of the patched hooks whose source differs from the unpatched arm. */
  changedInGraph: number;
  /** The first layer that is touched; −1 for the embedding. */
  firstLayer: number;
  /** Envelope of the selected positions; null if nothing is selected at this step. */
  positions: { start: number; end: number } | null;
}

export interface EditContext {
  executor: Executor;
  trajectory: Trajectory;
  sources: SourceRows;
  /** The unpatched arm. */
  base: ArmTrace;
  /** Rows each step of the cached arm runs. */
  decodeRows: number;
}

/** One hook's rows to replace: all of them selected by position and head. */
interface HookEdit {
  hook: Hook;
  target: Target;
  positions: readonly number[];
}

/** The edits of `targets` at a step; `only` leaves one position of them. */
export function editsAt(context: EditContext, targets: readonly Target[], step: number, only?: number): StepEdits {
  const { executor, trajectory, decodeRows } = context;
  const p = trajectory.promptLength;
  const n = p + step;
  const selected = (target: Target, end: number) =>
    positionsAt(target.positions, p, n, end).filter((position) => only === undefined || position === only);
  // Rows the step makes itself; of those before, only what is read counts.
  const firstMade = Math.max(0, n - Math.max(1, decodeRows));
  const made = (target: Target) => selected(target, n).filter((position) => position >= firstMade);
  const histories = targets.flatMap((target) => historyEdit(context, target, selected(target, n - 1)));
  const hookEdits = targets.flatMap((target) => hookEditsOf(context, target, selected(target, n), made(target)));
  const positions = [
    ...histories.flatMap(({ selection }) => selection.positions),
    ...hookEdits.flatMap(({ positions: of }) => of),
  ];
  const layers = [
    ...histories.flatMap(({ selection }) => selection.layers),
    ...hookEdits.map(({ hook }) => hook.layer),
  ];
  const apply = (edit: HookEdit, rows: Rows) => hookPatch(context, edit, step, rows);
  return {
    editHistory: (history) =>
      histories.reduce((sum, { target, selection }) => {
        const source = context.sources.history(target, n, selection.positions);
        return sum + overwriteHistory(executor, history, source, selection);
      }, 0),
    patches: (rows) => hookEdits.map((edit) => apply(edit, rows)).filter((patch) => patch !== null),
    changedInGraph: hookEdits.reduce((sum, edit) => sum + changedBy(context, edit, step), 0),
    firstLayer: Math.min(executor.config.layers, ...layers),
    positions: positions.length === 0 ? null : { start: Math.min(...positions), end: Math.max(...positions) + 1 },
  };
}

function historyEdit(
  { executor }: EditContext,
  target: Target,
  positions: readonly number[],
): { target: Target; selection: HistorySelection }[] {
  const { cache, heads } = target;
  if (cache === null || positions.length === 0) return [];
  const all = Array.from({ length: executor.config.kvHeads }, (_, head) => head);
  return [{ target, selection: { ...cache, heads: heads ?? all, positions } }];
}

function hookEditsOf(
  { executor }: EditContext,
  target: Target,
  read: readonly number[],
  made: readonly number[],
): HookEdit[] {
  const { config } = executor;
  const rowNames = (target.cache?.layers ?? []).flatMap((layer) =>
    rowHooks(target.cache?.component ?? 'both', target.rotary, layer, config),
  );
  const hooks = [...target.hooks, ...rowNames.map((name) => findHook(name, config)).filter((hook) => hook !== null)];
  return hooks
    .map((hook) => ({ hook, target, positions: isCacheHook(hook.name) ? read : made }))
    .filter(({ positions }) => positions.length > 0);
}

/** A hook edit as a patch of a pass over `rows`; null where none of its positions runs. */
function hookPatch(context: EditContext, edit: HookEdit, step: number, rows: Rows): Patch | null {
  const { hook, target, positions } = edit;
  const end = rows.start + rows.count;
  const first = isCacheHook(hook.name) ? 0 : rows.start;
  const count = end - first;
  const inside = positions.filter((position) => position >= first && position < end);
  if (inside.length === 0) return null;
  const source = context.sources.rows(target.source, hook, step);
  const { axes } = hook.definition;
  const heads = target.heads;
  const headTotal = headCount(hook, context.executor.config) ?? 1;
  const isHeadAxis = (axis: number) => axes[axis] === 'head' || axes[axis] === 'kv_head';
  const dims = axes.map((_, axis) =>
    isRowAxis(hook, axis) ? count : isHeadAxis(axis) && heads !== null ? headTotal : 1,
  );
  const strides = dims.map((_, axis) => dims.slice(axis + 1).reduce((a, b) => a * b, 1));
  const rowAxis = axes.findIndex((_, axis) => isRowAxis(hook, axis));
  const headAxis = axes.findIndex((_, axis) => isHeadAxis(axis));
  const mask = new Uint8Array(dims.reduce((a, b) => a * b, 1));
  for (const position of inside) {
    for (const head of heads === null ? [0] : heads) {
      mask[(position - first) * strides[rowAxis] + (heads === null ? 0 : head * strides[headAxis])] = 1;
    }
  }
  return {
    hook: hook.name,
    mask: { data: mask, dims },
    value: source === null ? zero(context, axes.length) : endingAt(source, rowAxis, count),
  };
}

function zero({ executor }: EditContext, axes: number): Patch['value'] {
  const data = executor.compute === 'f64' ? new Float64Array(1) : new Float32Array(1);
  return { data, dims: new Array<number>(axes).fill(1) };
}

/** The newest rows of an activation as the last of `count` rows; what is before them is masked. */
function endingAt({ data, dims }: Activation, rowAxis: number, count: number): Patch['value'] {
  const given = dims[rowAxis];
  if (given === count) return { data, dims };
  const inner = dims.slice(rowAxis + 1).reduce((a, b) => a * b, 1);
  const outer = dims.slice(0, rowAxis).reduce((a, b) => a * b, 1);
  const kept = Math.min(given, count);
  const size = outer * count * inner;
  const rows: FloatArray = data instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  for (let i = 0; i < outer; i++) {
    const end = (i + 1) * given * inner;
    rows.set(data.subarray(end - kept * inner, end), ((i + 1) * count - kept) * inner);
  }
  return { data: rows, dims: dims.map((length, axis) => (axis === rowAxis ? count : length)) };
}

/** Elements under the edit's mask whose source differs from the unpatched arm's own value. */
function changedBy(context: EditContext, edit: HookEdit, step: number): number {
  const { hook, target } = edit;
  const n = context.trajectory.promptLength + step;
  const own = context.sources.rows({ kind: 'arm', arm: context.base.name }, hook, step);
  const source = context.sources.rows(target.source, hook, step);
  if (own === null) return 0;
  const rowAxis = hook.definition.axes.findIndex((_, axis) => isRowAxis(hook, axis));
  const count = own.dims[rowAxis];
  const patch = hookPatch(context, edit, step, { start: n - count, count });
  if (patch === null) return 0;
  const other = source === null ? null : endingAt(source, rowAxis, count);
  const strides = own.dims.map((_, axis) => own.dims.slice(axis + 1).reduce((a, b) => a * b, 1));
  const maskStrides = patch.mask.dims.map((size, axis) =>
    size === 1 ? 0 : patch.mask.dims.slice(axis + 1).reduce((a, b) => a * b, 1),
  );
  let changed = 0;
  for (let i = 0; i < own.data.length; i++) {
    let at = 0;
    for (let axis = 0; axis < strides.length; axis++)
      at += (Math.floor(i / strides[axis]) % own.dims[axis]) * maskStrides[axis];
    if (patch.mask.data[at] === 0) continue;
    const [a, b] = [own.data[i], other === null ? 0 : other.data[i]];
    if (a !== b && !(Number.isNaN(a) && Number.isNaN(b))) changed += 1;
  }
  return changed;
}
