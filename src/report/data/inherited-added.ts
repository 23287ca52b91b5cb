/**
 * Each layer's drift, and who makes it: sums over the decode steps of resid_post's rows, by condition and layer. The file is
 * read once and nothing of it is kept.
 */

import { type StorageType, unitRoundoff } from '../../numerics/types.ts';
import { Columns } from './columns.ts';
import { beside, focusOf, type RunCondition, readConditions } from './conditions.ts';
import { layersCommand } from './drift-map.ts';
import { storageType } from './layer-map.ts';
import { isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

export interface LayerDrift {
  layer: number;
  /** Steps with all parts. */
  steps: number;
  /** Root mean squares in u; NaN where a value is NaN or infinite: those are never averaged. */
  measured: number;
  /** Same input, same history: the kernel alone. */
  added: number;
  viaHistory: number;
  /** Steps in which each is exactly 0. */
  zeros: { measured: number; added: number; viaHistory: number };
}

export interface ConditionDrift {
  condition: RunCondition;
  unit: StorageType;
  prompts: number;
  /** By layer, from the first. */
  layers: readonly LayerDrift[];
}

export interface InheritedSelection {
  /** Stands first; default: the first. */
  condition?: string;
  conditions?: readonly string[];
}

/** Panels of a figure, at most. */
const mostPanels = 6;

interface Sums {
  unit: StorageType;
  prompts: Set<string>;
  layers: Map<number, LayerDrift>;
}

/** Drift by layer of the chosen conditions, those with rows only. */
export async function inheritedAddedData(
  run: RunTables,
  selection: InheritedSelection = {},
): Promise<ConditionDrift[] | Missing> {
  if (!run.has('layers')) return { missing: 'No layers.arrow.', command: layersCommand };
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  const focus = focusOf(conditions, selection.condition);
  if (isMissing(focus)) return focus;
  const options = { most: mostPanels, ...(selection.conditions ? { asked: selection.conditions } : {}) };
  const chosen = beside(conditions, focus, options);
  const sums = await sumLayers(run, new Set(chosen.map(({ condition }) => condition)));
  const found = chosen.flatMap((condition): ConditionDrift[] => {
    const own = sums.get(condition.condition);
    if (!own) return [];
    const layers = [...own.layers.values()].sort((a, b) => a.layer - b.layer);
    const rms = (sum: number, steps: number) => Math.sqrt(sum / steps) / unitRoundoff(own.unit);
    return [
      {
        ...{ condition, unit: own.unit, prompts: own.prompts.size },
        layers: layers.map(({ layer, steps, measured, added, viaHistory, zeros }) => ({
          ...{ layer, steps, zeros, measured: rms(measured, steps) },
          ...{ added: rms(added, steps), viaHistory: rms(viaHistory, steps) },
        })),
      },
    ];
  });
  if (found.length > 0) return found;
  return {
    missing:
      'layers.arrow does not say what each layer adds: a run layer by layer, or none of its hooks is a resid_post.',
    command: layersCommand,
  };
}

/** Sums of squares by condition and layer. */
async function sumLayers(run: RunTables, conditions: ReadonlySet<string>): Promise<Map<string, Sums>> {
  const found = new Map<string, Sums>();
  for await (const batch of run.batches('layers')) {
    const columns = new Columns('layers', batch);
    const [condition, prompt, kind, dtype] = (['condition', 'prompt', 'kind', 'dtype'] as const).map((name) =>
      columns.texts(name),
    );
    const [step, layer, differ, nonfinite] = (['step', 'layer', 'n_differ', 'nonfinite'] as const).map((name) =>
      columns.required(name),
    );
    const measured = columns.required('rel_l2');
    const [added, history] = [columns.numbers('added_rel_l2'), columns.numbers('via_history_rel_l2')];
    for (let row = 0; row < batch.numRows; row++) {
      if (kind(row) !== 'resid_post' || step(row) < 1 || !conditions.has(condition(row))) continue;
      const [own, via] = [added(row), history(row)];
      if (own === null || via === null) continue;
      const unit = storageType(dtype(row)) ?? 'f32';
      const sums = found.get(condition(row)) ?? { unit, prompts: new Set(), layers: new Map() };
      found.set(condition(row), sums);
      sums.prompts.add(prompt(row));
      const sum = sums.layers.get(layer(row)) ?? newSum(layer(row));
      sums.layers.set(layer(row), sum);
      // A row with a NaN or an infinity in both arms has a finite distance, and is no measurement all the same.
      add(sum, nonfinite(row) > 0 ? Number.NaN : measured(row), own, via);
      if (differ(row) === 0) sum.zeros.measured += 1;
    }
  }
  return found;
}

function newSum(layer: number): LayerDrift {
  const zeros = { measured: 0, added: 0, viaHistory: 0 };
  return { layer, steps: 0, measured: 0, added: 0, viaHistory: 0, zeros };
}

function add(sum: LayerDrift, measured: number, added: number, viaHistory: number): void {
  sum.steps += 1;
  // An infinity is as little a size as NaN.
  const square = (value: number) => (Number.isFinite(value) ? value * value : Number.NaN);
  sum.measured += square(measured);
  sum.added += square(added);
  sum.viaHistory += square(viaHistory);
  if (added === 0) sum.zeros.added += 1;
  if (viaHistory === 0) sum.zeros.viaHistory += 1;
}
