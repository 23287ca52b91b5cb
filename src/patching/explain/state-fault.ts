/** What kind of fault a state event is: which row, head and layer, and what exactly is wrong with it. */

import { firstVisible } from '../../divergence/compare.ts';
import { bitEqual } from '../../divergence/counterfactual.ts';
import { hookName, isCacheHook } from '../../graph/hooks.ts';
import { typeAt } from '../../graph/rounding.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Activation, Activations, Executor } from '../../model/executor.ts';
import { forward } from '../../model/plans.ts';
import { roundTo } from '../../numerics/half.ts';
import { contains, type StorageType } from '../../numerics/types.ts';
import type { StateEvent } from './replay.ts';
import { listed } from './rules.ts';
import { scaleOf } from './scale.ts';
import type { StateFault } from './types.ts';

/** Fields that every kind fills in alike. */
type Place = Omit<StateFault, 'kind' | 'detail'>;

/** Name the fault of an event. @param tokens prompt and forced tokens */
export async function stateFault(
  executor: Executor,
  tokens: readonly number[],
  event: StateEvent,
): Promise<StateFault> {
  const { hook, step, n } = event;
  const { kind } = hook.definition;
  const place: Place = {
    step,
    hook: hook.name,
    layer: hook.layer,
    heads: [],
    row: n - 1,
    component: null,
    otherRows: 0,
  };
  if (isCacheHook(hook.name)) return cacheFault(executor, event, place);
  if (kind === 'attn.rot_q' || kind === 'attn.rot_k') return positionFault(executor, tokens, event, place);
  if (kind === 'attn.attn_scores') return maskFault(executor, event, place);
  if (kind === 'embed')
    return { ...place, kind: 'wrong token', detail: 'the embedded row is not that of the token at this position' };
  return { ...place, kind: 'other', detail: `${hook.name} is not what the step's inputs give` };
}

/** A row of one layer's K or V that is not the row that was written. */
interface ChangedRow {
  component: 'k' | 'v';
  layer: number;
  row: number;
  heads: number[];
}

/** Rows read and rows written of one component and layer: [row, kv_head, d_head]. */
interface Rows {
  component: 'k' | 'v';
  layer: number;
  read: FloatArray;
  written: FloatArray;
  /** Oldest row that the step sees. */
  first: number;
}

function cacheFault(executor: Executor, event: StateEvent, place: Place): StateFault {
  const { config, policy } = executor;
  const all = cacheRows(executor, event);
  const changed = all.flatMap((rows) => changedRows(executor, event, rows));
  const stored = typeAt(policy, 'kv');
  const narrow = narrowerStore(executor, event, all, changed, stored);
  const [first] = changed;
  const { component, layer, row, heads } = first;
  const known = { ...place, component, layer, row, heads, otherRows: changed.length - 1 };
  if (narrow) {
    const which = new Set(changed.map((each) => each.component.toUpperCase()));
    const detail = `every row read is the row written, rounded to ${narrow} (${[...which].join(' and ')})`;
    return { ...known, kind: 'narrower store', type: narrow, detail };
  }
  const { read, written } = all.find((rows) => rows.component === component && rows.layer === layer)!;
  const part = (data: FloatArray, at: number) => gather(data, at, heads, config.kvHeads, config.headDim);
  const [now, before] = [part(read, row), part(written, row)];
  if (now.every((value) => value === 0))
    return { ...known, kind: 'stale row', detail: 'it holds zeros: the row was not written' };
  for (let other = row - 1; other >= 0; other--) {
    if (!bitEqual(part(written, other), now)) continue;
    return { ...known, kind: 'stale row', holds: other, detail: `it holds the row written at position ${other}` };
  }
  const factor = scaleOf(before, now, stored);
  if (factor)
    return { ...known, kind: 'scaled row', factor, detail: `every element is the one written × ${factor.value}` };
  return { ...known, kind: 'rewritten row', detail: 'it holds other numbers than were written' };
}

/** Rows of K and V in the order of the layers, K first. */
function cacheRows({ config, blocks }: Executor, { found, expected, start }: StateEvent): Rows[] {
  return blocks.flatMap((layer) =>
    (['k', 'v'] as const).map((component): Rows => {
      const name = hookName(`attn.cache_${component}`, layer);
      const first = firstVisible(config.slidingWindows[layer], start + 1);
      return { component, layer, first, read: dataOf(found, name), written: dataOf(expected, name) };
    }),
  );
}

/** History rows that the step sees and that are not what was written. */
function changedRows(
  { config }: Executor,
  { start }: StateEvent,
  { component, layer, read, written, first }: Rows,
): ChangedRow[] {
  const { kvHeads, headDim } = config;
  const rows: ChangedRow[] = [];
  for (let row = first; row < start; row++) {
    const heads = Array.from({ length: kvHeads }, (_, head) => head).filter((head) => {
      const at = (row * kvHeads + head) * headDim;
      return !bitEqual(read.subarray(at, at + headDim), written.subarray(at, at + headDim));
    });
    if (heads.length > 0) rows.push({ component, layer, row, heads });
  }
  return rows;
}

/** The type to which every history row of the changed components is rounded, in all layers; null if there is none. */
function narrowerStore(
  { config }: Executor,
  { start }: StateEvent,
  all: readonly Rows[],
  changed: readonly ChangedRow[],
  stored: StorageType,
): StorageType | null {
  // One row alone is no store: a store narrows whatever it holds.
  if (start > 1 && changed.every(({ row }) => row === changed[0].row)) return null;
  const components = new Set(changed.map(({ component }) => component));
  const rowSize = config.kvHeads * config.headDim;
  const types: StorageType[] = ['f16', 'bf16'];
  const narrowed = types.find(
    (type) =>
      !contains(type, stored) &&
      all.every(({ component, read, written, first }) => {
        if (!components.has(component)) return true;
        for (let i = first * rowSize; i < start * rowSize; i++) {
          if (!Object.is(read[i], roundTo(type, written[i]))) return false;
        }
        return true;
      }),
  );
  return narrowed ?? null;
}

/** These heads of one row. */
function gather(data: FloatArray, row: number, heads: readonly number[], kvHeads: number, headDim: number): FloatArray {
  const part = data.slice(0, heads.length * headDim);
  heads.forEach((head, i) => {
    const at = (row * kvHeads + head) * headDim;
    part.set(data.subarray(at, at + headDim), i * headDim);
  });
  return part;
}

/** Farthest offset that is tried, beside that of position 0. */
const farthest = 512;

/** Find the offset under which the block gives the queries and keys that the step has. */
async function positionFault(
  executor: Executor,
  tokens: readonly number[],
  { start, n, found, hook }: StateEvent,
  place: Place,
): Promise<StateFault> {
  const names = [hookName('attn.rot_q', hook.layer), hookName('attn.rot_k', hook.layer)];
  const rows = executor.config.maxPositions;
  const residual = dataOf(found, hookName('resid_pre', hook.layer));
  const offsets = [-start];
  for (let distance = 1; distance <= farthest; distance++) offsets.push(distance, -distance);
  for (const offset of offsets) {
    if (offset === 0 || start + offset < 0 || n + offset > rows) continue;
    // Attention of this pass reads an empty cache: its result is not looked at.
    const { activations } = await forward(executor, {
      ...{ tokens: tokens.slice(start, n), start, cache: executor.newCache(n), kernel: 'decode' },
      ...{ capture: { hooks: new Set(names) }, wrong: { offset } },
      ...{ startAtLayer: hook.layer, stopAtLayer: hook.layer + 1, residual },
    });
    if (!names.every((name) => bitEqual(dataOf(activations, name), dataOf(found, name)))) continue;
    const detail = `queries and keys are those of position ${n - 1 + offset} (offset ${offset}), bit for bit`;
    return { ...place, kind: 'wrong position', offset, detail };
  }
  return { ...place, kind: 'other', detail: 'queries or keys are rotated as at no position that was tried' };
}

/** Compare which keys the newest row sees, by the scores that are −inf. */
function maskFault({ config, blocks }: Executor, { found, expected, n }: StateEvent, place: Place): StateFault {
  const seen = (activations: Activations, layer: number) => {
    const { data, dims } = activationOf(activations, hookName('attn.attn_scores', layer));
    const keys = dims[3];
    // The newest query's scores of head 0; the mask is the same in every head.
    const newest = data.subarray((dims[2] - 1) * keys, dims[2] * keys);
    return Array.from(newest, (score) => score !== -Infinity);
  };
  const [now, right] = [seen(found, place.layer), seen(expected, place.layer)];
  const keys = Array.from({ length: n }, (_, key) => key);
  const hidden = keys.filter((key) => right[key] && !now[key]);
  const shown = keys.filter((key) => !right[key] && now[key]);
  if (hidden.length + shown.length === 0)
    return { ...place, kind: 'other', detail: 'scores differ although queries, keys and mask are equal' };
  const layers = blocks.filter((layer) => seen(found, layer).some((sees, key) => sees !== seen(expected, layer)[key]));
  const newest = n - 1;
  const words = (name: string, list: readonly number[]) =>
    list.length === 0 ? [] : [`${name} key ${listed(list)}${list[0] === newest ? ' (the newest)' : ''}`];
  const where = layers.length === config.layers ? 'every block' : `block ${listed(layers)}`;
  const detail = `the mask ${[...words('hides', hidden), ...words('shows', shown)].join(' and ')}, in every head of ${where}`;
  return { ...place, kind: 'wrong mask', row: newest, hidden, shown, detail };
}

function activationOf(activations: Activations, name: string): Activation {
  const found = activations.get(name);
  if (!found) throw new Error(`state fault: ${name} was not captured`);
  return found;
}

function dataOf(activations: Activations, name: string): FloatArray {
  return activationOf(activations, name).data;
}
