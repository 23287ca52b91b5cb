/** Results of activation patching as a grid of heat maps: for `patchGridFigure`. */
import { UsageError } from '../errors.ts';
import type { Model } from '../model/model.ts';
import type { ActPatchResult } from '../patching/sweep/act-patch.ts';
import { tokenLabel } from '../patching/sweep/labels.ts';
import { recovery } from '../patching/sweep/metrics.ts';
import type { GridColumn, GridPanel } from './figures/patch-grid.ts';

/**
 * One panel: recovery by layer and position or head; null where the patch changes no bit.
 * @throws UsageError for a result of more axes than these two
 */
export function patchPanel(title: string, result: ActPatchResult): GridPanel {
  const { axes, values, vacuous, kind } = result;
  if (axes.length !== 2) {
    const found = axes.map(({ name }) => name).join();
    throw new UsageError(`patchPanel: found ${kind} by ${found}, expected two axes: layer and pos, head or kv_head`);
  }
  const [rows, columns] = axes.map(({ labels }) => labels);
  return {
    title,
    rows: rows.map((layer) => `L${layer}`),
    values: rows.map((_, layer) =>
      columns.map((_, i) => (vacuous.get(layer, i) === 1 ? null : recovery(values.get(layer, i), result))),
    ),
  };
}

/** The columns of panels by position: the corrupted prompt's tokens, and the clean one's where they differ. */
export function patchColumns(model: Model, clean: readonly number[], corrupted: readonly number[]): GridColumn[] {
  return corrupted.map((token, i) => {
    const label = tokenLabel(model, token);
    return token === clean[i] ? { label } : { label, clean: tokenLabel(model, clean[i]) };
  });
}
