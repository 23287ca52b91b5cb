/** Cells of a sweep: which entries of which hook take the clean run's value. */
import { UsageError } from '../../errors.ts';
import type { Axis, Hook } from '../../graph/hooks.ts';
import { allocate, type FloatArray } from '../../model/arrays.ts';
import type { Activation, Patch } from '../../model/executor.ts';

/** A hook's value in one run: row-major numbers and sizes along the hook's axes. */
export type HookValue = Pick<Activation, 'data' | 'dims'>;

/** Indices along a hook's axes; every entry along an axis that is not named is patched. */
export type CellIndex = Partial<Record<Axis, number>>;

/** One patch: entries `at` of a block's hook. */
export interface Cell {
  hook: Hook;
  at: CellIndex;
}

/** Rows first … last (absolute positions) of a hook's value that a cell changes, and how many elements of them. */
export interface ChangedRows {
  first: number;
  last: number;
  elements: number;
}

/** A cell's name, the same in every run: `blocks.3.attn.hook_z[pos=5,head=2]`. */
export function cellKey({ hook, at }: Cell): string {
  const indices = hook.definition.axes.flatMap((axis) => (at[axis] === undefined ? [] : [`${axis}=${at[axis]}`]));
  return `${hook.name}[${indices.join()}]`;
}

/**
 * Hooks whose value reaches the K/V rows of their own block, so that a changed row changes the block's later rows. What is
 * not listed changes its own row of the block's output alone.
 */
const readByLaterRows: ReadonlySet<string> = new Set([
  ...['resid_pre', 'ln1.scale', 'ln1.normalized', 'attn.k', 'attn.v', 'attn.k_norm.out', 'attn.rot_k'],
  ...['attn.cache_k', 'attn.cache_v'],
]);

/** True if a row of this hook is read by later rows within its block. */
export function reachesLaterRows({ definition }: Hook): boolean {
  return readByLaterRows.has(definition.kind);
}

/** False for what lies between blocks: the stored residual is replaced, and no patched graph is needed. */
export function needsGraph({ definition }: Hook): boolean {
  return definition.kind !== 'resid_pre' && definition.kind !== 'resid_post';
}

/** Axes that count absolute positions: of rows that run, and of rows that are read. */
const rowAxes: ReadonlySet<Axis> = new Set(['pos', 'query', 'cache']);
const readAxes: ReadonlySet<Axis> = new Set(['cache', 'key']);

/** @throws UsageError for a hook that no block computes. */
export function checkCell({ hook, at }: Cell, value: HookValue | undefined): void {
  if (!value) throw new UsageError(`patching: the clean run has no value of ${hook.name}`);
  if (hook.definition.stage !== 'block' || hook.definition.optIn)
    throw new UsageError(
      `patching: ${hook.name} cannot be patched in a sweep, expected a hook of a block that is not opt-in`,
    );
  hook.definition.axes.forEach((axis, i) => {
    const index = at[axis];
    if (index === undefined || (Number.isInteger(index) && index >= 0 && index < value.dims[i])) return;
    throw new UsageError(`patching: ${hook.name}: found ${axis} ${index}, expected 0 … ${value.dims[i] - 1}`);
  });
}

/**
 * Rows of the cell's entries in which the two values differ in bits; null if they are equal: the patched run is then the
 * base run. (Zeros of unlike sign differ.)
 */
export function changedRows(cell: Cell, clean: HookValue, base: HookValue): ChangedRows | null {
  const { axes } = cell.hook.definition;
  const rowAxis = axes.findIndex((axis) => rowAxes.has(axis));
  let first = Number.POSITIVE_INFINITY;
  let last = -1;
  let elements = 0;
  visit(base.dims, cell, (offset, index) => {
    if (Object.is(clean.data[offset], base.data[offset])) return;
    first = Math.min(first, index[rowAxis]);
    last = Math.max(last, index[rowAxis]);
    elements += 1;
  });
  return last < 0 ? null : { first, last, elements };
}

/** Call with the offset and the index of every entry of the cell, in row-major order. */
function visit(
  dims: readonly number[],
  { hook, at }: Cell,
  call: (offset: number, index: readonly number[]) => void,
): void {
  const fixed = hook.definition.axes.map((axis) => at[axis]);
  const index = fixed.map((value) => value ?? 0);
  const step = (axis: number, offset: number) => {
    if (axis === dims.length) {
      call(offset, index);
      return;
    }
    const [from, to] = fixed[axis] === undefined ? [0, dims[axis]] : [fixed[axis], fixed[axis] + 1];
    for (let i = from; i < to; i++) {
      index[axis] = i;
      step(axis + 1, offset * dims[axis] + i);
    }
  };
  step(0, 0);
}

/**
 * The patch of cells on one hook, one sequence of the batch each, for a pass over rows start … end − 1.
 * @param clean the hook's value in a pass over all rows
 */
export function patchOf(cells: readonly Cell[], clean: HookValue, start: number, end: number): Patch {
  const { hook } = cells[0];
  const { axes } = hook.definition;
  // Along this axis the pass has entries from … to − 1 of the full pass.
  const range = (axis: number): [from: number, to: number] => {
    if (readAxes.has(axes[axis])) return [0, end];
    return rowAxes.has(axes[axis]) ? [start, end] : [0, clean.dims[axis]];
  };
  const ranges = axes.map((_, axis) => range(axis));
  const indexed = axes.map((axis) => cells.some(({ at }) => at[axis] !== undefined));
  const dims = axes.map((_, axis) => (indexed[axis] ? ranges[axis][1] - ranges[axis][0] : 1));
  const perCell = dims.reduce((product, size) => product * size, 1);
  const mask = new Uint8Array(cells.length * perCell);
  cells.forEach(({ at }, i) => {
    const own = axes.map((axis, position) => {
      const index = at[axis];
      return index === undefined ? undefined : index - ranges[position][0];
    });
    const fill = (axis: number, offset: number) => {
      if (axis === dims.length) {
        mask[i * perCell + offset] = 1;
        return;
      }
      const [from, to] = own[axis] === undefined ? [0, dims[axis]] : [own[axis], own[axis] + 1];
      for (let at = from; at < to; at++) fill(axis + 1, offset * dims[axis] + at);
    };
    fill(0, 0);
  });
  return {
    hook: hook.name,
    mask: { data: mask, dims: [cells.length, ...dims.slice(1)] },
    value: { data: sliced(clean, ranges), dims: ranges.map(([from, to]) => to - from) },
  };
}

/** A patch that changes nothing, so that one graph serves several hooks. */
export function idlePatch({ name, definition }: Hook, compute: 'f32' | 'f64'): Patch {
  const ones = definition.axes.map(() => 1);
  return {
    hook: name,
    mask: { data: new Uint8Array(1), dims: ones },
    value: { data: allocate(compute, 1), dims: ones },
  };
}

/** Put a cell of the residual stream, [pos, d_model], into rows start … of `residual`; of all its rows, `rows`. */
export function replaceRows(
  residual: FloatArray,
  start: number,
  cell: Cell,
  { data, dims }: HookValue,
  rows: Pick<ChangedRows, 'first' | 'last'>,
): void {
  const width = dims[2];
  const { pos, d_model } = cell.at;
  const [from, to] = pos === undefined ? [rows.first, rows.last + 1] : [pos, pos + 1];
  const [low, high] = d_model === undefined ? [0, width] : [d_model, d_model + 1];
  for (let row = from; row < to; row++) {
    // + 0 turns −0 into +0, as selecting a patch inside a graph does.
    for (let i = low; i < high; i++) residual[(row - start) * width + i] = data[row * width + i] + 0;
  }
}

/** Entries [from, to) of every axis, row-major. */
function sliced({ data, dims }: HookValue, ranges: readonly [from: number, to: number][]): FloatArray {
  if (ranges.every(([from, to], axis) => from === 0 && to === dims[axis])) return data;
  const size = ranges.reduce((product, [from, to]) => product * (to - from), 1);
  const result = data instanceof Float64Array ? new Float64Array(size) : new Float32Array(size);
  // Trailing axes that are taken whole are copied in runs.
  let inner = dims.length;
  let run = 1;
  while (inner > 0 && ranges[inner - 1][0] === 0 && ranges[inner - 1][1] === dims[inner - 1]) run *= dims[--inner];
  let at = 0;
  const copy = (axis: number, offset: number) => {
    if (axis === inner) {
      result.set(data.subarray(offset * run, (offset + 1) * run), at);
      at += run;
      return;
    }
    for (let i = ranges[axis][0]; i < ranges[axis][1]; i++) copy(axis + 1, offset * dims[axis] + i);
  };
  copy(0, 0);
  return result;
}
