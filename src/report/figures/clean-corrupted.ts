/** The figures of a clean/corrupted run: one for maps by position, one for maps by head, each light and dark. */
import type { CleanCorruptedFindings, CleanCorruptedSummary } from '../../patching/clean-corrupted/run.ts';
import { bestCell, capital, cellName, heatMaps, metricName } from '../clean-corrupted.ts';
import { formatValue } from '../terminal/numbers.ts';
import { shown } from '../terminal/recovery.ts';
import { patchGridFigure, recoveryScale } from './patch-grid.ts';

/** Files by path in the run's folder. */
export function* cleanCorruptedFigures(summary: CleanCorruptedSummary): Generator<[path: string, svg: string]> {
  const { found, spec } = summary;
  if (!found || found.clean === found.corrupted) return;
  const maps = heatMaps(found);
  const best = bestCell(found);
  const title = best
    ? `Most recovers ${cellName(best.kind, best.row, found)}: ${shown(best.row.metric_recovery ?? 0)}`
    : 'No patch changes a bit';
  const metric = metricName(found, summary);
  const clean = spec.metric === 'logitDistance' || spec.metric === 'klDivergence' ? '' : formatValue(found.clean);
  for (const kind of ['positions', 'heads'] as const) {
    const panels = maps.filter(({ columns }) => columns === kind);
    if (panels.length === 0) continue;
    const grid = {
      ...{ title, panels },
      subtitle: `${summary.model}, ${summary.precision}, ${summary.kernels}: ${spec.name}. Each cell puts one activation of the clean run into the corrupted one. ${capital(metric)} is ${clean === '' ? '0' : clean} in the clean run and ${formatValue(found.corrupted)} in the corrupted one.`,
      columns: kind === 'positions' ? positionColumns(found) : headColumns(panels[0].values[0].length),
      scale: recoveryScale,
      shows: `Heat maps of recovery by layer and ${kind === 'positions' ? 'token' : 'head'}.`,
    };
    for (const appearance of ['light', 'dark'] as const) {
      const { svg } = patchGridFigure(grid, { appearance, poster: true, width: 1104 });
      yield [`figures/${spec.name}${kind === 'heads' ? '-heads' : ''}-${appearance}.svg`, `${svg}\n`];
    }
  }
}

function positionColumns({ tokens }: CleanCorruptedFindings) {
  return tokens.map(({ clean, corrupted, differs }) => (differs ? { label: corrupted, clean } : { label: corrupted }));
}

function headColumns(count: number) {
  return Array.from({ length: count }, (_, i) => ({ label: `H${i}` }));
}
