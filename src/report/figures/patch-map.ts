/** Patches of single layers as heat maps of recovery: `patchGridFigure` with a run's own rows. */
import type { PatchMap, PatchMapPanel } from '../data/patch-map.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { shown } from '../terminal/recovery.ts';
import { tokenText } from '../visible.ts';
import type { Figure, FigureOptions } from './frame.ts';
import { patchGridFigure, recoveryScale } from './patch-grid.ts';
import { shownName } from './plot.ts';

const axisNames = { head: 'head', position: 'token', hook: 'hook' } as const;

/** Draw the maps of a spec. @param data of at least two layers */
export function patchMapFigure(data: PatchMap, options: FigureOptions = {}): Figure {
  const { condition, spec, metric, axis, columns, layers, panels, cells, prompts } = data;
  const what =
    metric === null
      ? '1 − D(patched)/D(cached arm), D the L2 of mean-centred logits to the uncached arm, at the patched step'
      : `of ${shownName(metric)}: 0 as the corrupted run, 1 as the clean run`;
  const n = metric === null ? `; ${formatCounted(cells, 'step')} of ${formatCounted(prompts, 'prompt')} a cell` : '';
  const name = `${shownName(condition.model)}, ${shownName(condition.precision)} · ${shownName(condition.kernels)}`;
  return patchGridFigure(
    {
      title: titleOf(data),
      subtitle: `${name}, ${shownName(spec)}: recovery ${what}${n}. Layers downwards, ${axisNames[axis]}s to the right. Hatched: nothing changed, or nothing to recover.`,
      panels: panels.map(({ name: panel, values }) => ({
        title: shownName(panel),
        rows: layers.map((layer) => `L${layer}`),
        values,
      })),
      columns: columns.map((label) => ({
        label: axis === 'head' ? `H${label}` : axis === 'hook' ? shownName(label, 24) : label,
      })),
      scale:
        metric === null
          ? { ...recoveryScale, label: 'recovery: 0 as the cached arm, 1 as the uncached arm' }
          : recoveryScale,
      shows: `Heat maps of recovery by layer and ${axisNames[axis]}: ${panels.map(({ name: panel }) => panel).join(', ')}.`,
    },
    options,
  );
}

function titleOf({ panels, layers, columns, axis }: PatchMap): string {
  const best = panels
    .flatMap((panel) => panel.values.flatMap((row, i) => row.map((value, j) => ({ panel, i, j, value }))))
    .reduce<{ panel: PatchMapPanel; i: number; j: number; value: number | null } | null>(
      (top, each) => (each.value !== null && (top === null || each.value > (top.value ?? -Infinity)) ? each : top),
      null,
    );
  if (best === null)
    return 'No patch of one layer recovers anything: nothing was changed, or there is nothing to recover';
  const { panel, i, j, value } = best;
  const where =
    axis === 'hook'
      ? columns[j]
      : `${panel.name}, ${axis === 'head' ? `head ${columns[j]}` : `at ${tokenText(columns[j])}`}`;
  return `Most recovers L${layers[i]} ${shownName(where, 60)}: ${shown(value ?? 0)}`;
}
