/**
 * The K/V cache itself: how far its rows are from recomputed ones, by position, layer and, where activations were saved, head.
 *
 * A row of the cache is the newest row of attn.rot_k or attn.v of the step that wrote it, and a recomputed row has the same bits
 * at every later step (gate *prefix*): so the rows of the steps are the cache that the last step reads. Rows of the prompt were
 * written by the prefill in both arms.
 */
import type { RecordBatch } from 'apache-arrow';
import type { StorageType } from '../../numerics/types.ts';
import { Columns } from './columns.ts';
import type { RunCondition } from './conditions.ts';
import { chooseMap, type MapSelection } from './drift-map.ts';
import { cellStates, type LayerMap, readLayerMaps } from './layer-map.ts';
import { isMissing, type Missing } from './missing.ts';
import type { ActivationTable, RunTables } from './run-tables.ts';

/** Keys or values. */
export interface CachePanel {
  rows: readonly { layer: number; head: number | null }[];
  /** Of `cellStates`, by row, then new position. */
  states: Uint8Array;
  /** Relative L2, in the same order; NaN where not measured. */
  drift: Float64Array;
}

export interface CacheMap {
  condition: RunCondition;
  prompt: string;
  promptIndex: number | null;
  unit: StorageType;
  /** Positions below this one are the prompt's. */
  promptLength: number;
  /** New positions, from `promptLength` on. */
  positions: number;
  /** Rows are of single heads. */
  byHead: boolean;
  keys: CachePanel;
  values: CachePanel;
}

export const cacheCommand =
  "kvlens diverge MODEL --hooks '*.attn.hook_rot_k,*.attn.hook_v' --save-activations --out FOLDER";

/** The cache of one prompt after its last step. */
export async function cacheMapData(run: RunTables, selection: MapSelection = {}): Promise<CacheMap | Missing> {
  const found = await chooseMap(run, selection);
  if (isMissing(found)) return { ...found, command: cacheCommand };
  const [map] = await readLayerMaps(run, [found]);
  const isKept = ({ kind }: { kind: string }) => kind === 'attn.rot_k' || kind === 'attn.v';
  if (!map?.hooks.some(isKept)) {
    return { missing: `layers.arrow has no keys and values of ${found.condition.condition}.`, command: cacheCommand };
  }
  const { condition, prompt, promptIndex, unit, steps } = map;
  const promptLength = steps[0].position - steps[0].step + 1;
  const positions = steps[steps.length - 1].position - promptLength + 1;
  const place = { promptLength, positions };
  const heads = await Promise.all(
    (['activations/attn.rot_k', 'activations/attn.v'] as const).map((table) => headPanel(run, table, map, place)),
  );
  const [keys, values] = heads;
  const own = { condition, prompt, promptIndex, unit, ...place };
  if (keys && values) return { ...own, byHead: true, keys, values };
  const layers = (kind: string) => layerPanel(map, kind, place);
  return { ...own, byHead: false, keys: layers('attn.rot_k'), values: layers('attn.v') };
}

interface Place {
  promptLength: number;
  positions: number;
}

/** All heads of a layer together, from layers.arrow. */
function layerPanel(map: LayerMap, kind: string, { promptLength, positions }: Place): CachePanel {
  const { hooks, steps } = map;
  const rows = hooks.flatMap((hook, index) => (hook.kind === kind ? [{ layer: hook.layer, index }] : []));
  const panel = emptyPanel(
    rows.map(({ layer }) => ({ layer, head: null })),
    positions,
  );
  rows.forEach(({ index }, row) => {
    steps.forEach(({ position }, step) => {
      const at = row * positions + position - promptLength;
      panel.states[at] = map.states[index * steps.length + step];
      panel.drift[at] = map.values.rel_l2[index * steps.length + step];
    });
  });
  return panel;
}

function emptyPanel(rows: CachePanel['rows'], positions: number): CachePanel {
  const size = rows.length * positions;
  return { rows, states: new Uint8Array(size), drift: new Float64Array(size).fill(Number.NaN) };
}

/** Each K/V head by itself, from saved activations of both arms; null where the run has none of the prompt. */
async function headPanel(
  run: RunTables,
  table: ActivationTable,
  { condition, prompt }: LayerMap,
  { promptLength, positions }: Place,
): Promise<CachePanel | null> {
  const waiting = new Map<string, { arm: string; value: Float64Array }>();
  const cells: { layer: number; position: number; heads: { state: number; drift: number }[] }[] = [];
  for await (const batch of run.batches(table)) {
    const heads = headCount(batch);
    if (heads === null) return null;
    const columns = new Columns(table, batch);
    const [of, owner, arm] = [columns.texts('condition'), columns.texts('prompt'), columns.texts('arm')];
    const [position, layer] = [columns.required('position'), columns.required('layer')];
    const value = columns.lists('value');
    for (let row = 0; row < batch.numRows; row++) {
      if (of(row) !== condition.condition || owner(row) !== prompt || position(row) < promptLength) continue;
      const key = `${layer(row)} ${position(row)}`;
      const own = { arm: arm(row), value: Float64Array.from(value(row)) };
      const other = waiting.get(key);
      if (!other || other.arm === own.arm) {
        waiting.set(key, own);
        continue;
      }
      waiting.delete(key);
      const [cached, uncached] = own.arm === 'cached' ? [own.value, other.value] : [other.value, own.value];
      cells.push({ layer: layer(row), position: position(row), heads: compareHeads(cached, uncached, heads) });
    }
  }
  if (cells.length === 0) return null;
  const layers = [...new Set(cells.map(({ layer }) => layer))].sort((a, b) => a - b);
  const heads = cells[0].heads.length;
  const rows = layers.flatMap((layer) => Array.from({ length: heads }, (_, head) => ({ layer, head })));
  const panel = emptyPanel(rows, positions);
  for (const { layer, position, heads: own } of cells) {
    own.forEach(({ state, drift }, head) => {
      const at = (layers.indexOf(layer) * heads + head) * positions + position - promptLength;
      if (position - promptLength >= positions) return;
      panel.states[at] = state;
      panel.drift[at] = drift;
    });
  }
  return panel;
}

/** Heads of a row [kv_head, d_head]; null for a file that does not say. */
function headCount({ schema }: RecordBatch): number | null {
  const shape: unknown = JSON.parse(schema.metadata.get('shape') ?? 'null');
  return Array.isArray(shape) && shape.length === 2 && typeof shape[0] === 'number' && shape[0] > 0 ? shape[0] : null;
}

/** ‖cached − uncached‖ / ‖uncached‖ of each head; equal is equal in every element. */
function compareHeads(cached: Float64Array, uncached: Float64Array, heads: number) {
  const size = cached.length / heads;
  return Array.from({ length: heads }, (_, head) => {
    let [difference, norm, equal, nan, infinite] = [0, 0, true, false, false];
    for (let i = head * size; i < (head + 1) * size; i++) {
      const [a, b] = [cached[i], uncached[i]];
      if (Number.isNaN(a) || Number.isNaN(b)) nan = true;
      else if (!Number.isFinite(a) || !Number.isFinite(b)) infinite = true;
      if (a !== b) equal = false;
      difference += (a - b) ** 2;
      norm += b * b;
    }
    const drift = difference === 0 ? 0 : Math.sqrt(difference / norm);
    if (nan) return { state: cellStates.nan, drift };
    if (infinite || !Number.isFinite(drift)) return { state: cellStates.infinite, drift };
    return { state: equal ? cellStates.zero : cellStates.finite, drift };
  });
}
