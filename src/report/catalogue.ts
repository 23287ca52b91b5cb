/** Every figure by its name: from a run's tables to an SVG, for the page, for notebooks and for files. */
import { UsageError } from '../errors.ts';
import { accuracyData } from './data/accuracy.ts';
import { cacheMapData } from './data/cache-map.ts';
import { driftMapData, thumbnailData } from './data/drift-map.ts';
import { firstOperationData } from './data/first-operation.ts';
import { flipPredictionData } from './data/flip-prediction.ts';
import { inheritedAddedData } from './data/inherited-added.ts';
import { type MapPart, partOfMap } from './data/map-part.ts';
import { marginDriftData } from './data/margin-drift.ts';
import { isMissing, type Missing } from './data/missing.ts';
import { oracleData } from './data/oracle.ts';
import { patchMapData } from './data/patch-map.ts';
import { precisionLadderData } from './data/precision-ladder.ts';
import { recoveryData } from './data/recovery.ts';
import type { RunTables } from './data/run-tables.ts';
import { survivalData } from './data/survival.ts';
import { temperatureData } from './data/temperature.ts';
import { tokenFlowData } from './data/token-flow.ts';
import { twoByTwoData } from './data/two-by-two.ts';
import { verdictTableData } from './data/verdict-table.ts';
import { accuracyFigure } from './figures/accuracy.ts';
import { cacheMapFigure } from './figures/cache-map.ts';
import { driftMapFigure } from './figures/drift-map.ts';
import { firstOperationFigure } from './figures/first-operation.ts';
import { flipPredictionFigure } from './figures/flip-prediction.ts';
import type { Figure, FigureOptions } from './figures/frame.ts';
import { inheritedAddedFigure } from './figures/inherited-added.ts';
import type { RowSelection } from './figures/map-grid.ts';
import type { Measure } from './figures/map-measure.ts';
import { marginDriftFigure } from './figures/margin-drift.ts';
import { oracleFigure } from './figures/oracle.ts';
import { type PatchGrid, patchGridFigure } from './figures/patch-grid.ts';
import { patchMapFigure } from './figures/patch-map.ts';
import { precisionLadderFigure } from './figures/precision-ladder.ts';
import { recoveryFigure } from './figures/recovery.ts';
import { survivalFigure } from './figures/survival.ts';
import { temperatureFigure } from './figures/temperature.ts';
import { thumbnailFigure } from './figures/thumbnails.ts';
import { tokenFlowFigure } from './figures/token-flow.ts';
import { twoByTwoFigure } from './figures/two-by-two.ts';
import { verdictTableFigure } from './figures/verdict-table.ts';

/** What of a run a figure shows, and how. Each figure reads what concerns it. */
export interface FigureRequest extends FigureOptions {
  /** Name of a condition. Default: the run's first, or the first the figure can show. */
  condition?: string;
  /** Which others stand beside it. Default: all of a small run, else those of the same model and strategy. */
  conditions?: readonly string[];
  /** Id of a prompt, for maps. Default: the one whose logits differ in most steps. */
  prompt?: string;
  /** Rows of a map. Default `main`. */
  rows?: RowSelection;
  /** What a map's colours measure. Default `u`. */
  measure?: Measure;
  /** Each value of a map over the median of its row. Default false. */
  rowMedian?: boolean;
  /** Some layers, steps and hooks of a map. Default: all. */
  part?: MapPart;
}

type Draw = (run: RunTables, request: FigureRequest) => Promise<Figure | Missing>;

function figure<Data extends object>(
  read: (run: RunTables, request: FigureRequest) => Promise<Data | Missing>,
  draw: (data: Data, request: FigureRequest) => Figure,
): Draw {
  return async (run, request) => {
    const data = await read(run, request);
    return isMissing(data) ? data : draw(data, request);
  };
}

/** The figures, in the order in which a reader meets them. */
const figures = {
  'verdict-table': figure((run) => verdictTableData(run), verdictTableFigure),
  'drift-map': figure(driftMapData, (map, { part = {}, ...request }) => driftMapFigure(partOfMap(map, part), request)),
  thumbnails: figure(thumbnailData, thumbnailFigure),
  'first-operation': figure(firstOperationData, firstOperationFigure),
  'inherited-added': figure(inheritedAddedData, inheritedAddedFigure),
  'cache-map': figure(cacheMapData, cacheMapFigure),
  'margin-drift': figure(marginDriftData, marginDriftFigure),
  survival: figure(survivalData, survivalFigure),
  'token-flow': figure(tokenFlowData, tokenFlowFigure),
  'flip-prediction': figure(flipPredictionData, flipPredictionFigure),
  'two-by-two': figure(twoByTwoData, twoByTwoFigure),
  recovery: figure(recoveryData, recoveryFigure),
  'patch-map': figure(patchMapData, patchMapFigure),
  'precision-ladder': figure((run) => precisionLadderData(run), precisionLadderFigure),
  oracle: figure(oracleData, oracleFigure),
  accuracy: figure(accuracyData, accuracyFigure),
  temperature: figure(temperatureData, temperatureFigure),
} as const satisfies Record<string, Draw>;

/** Name of a figure. */
export type FigureName = keyof typeof figures;

/** Names of all figures, in the order in which a reader meets them. */
export const figureNames = Object.keys(figures) as FigureName[];

/** A figure, or what is missing, that notebooks show as the last expression of a cell. */
export type Shown<Found> = Found & { [display]: () => Record<string, string> };

/** What Jupyter kernels for JavaScript ask an object for. */
export const display = Symbol.for('Jupyter.display');

/**
 * Draw a figure of a run; where the run has no such rows, what is missing and the command that makes it. As the last expression
 * of a notebook's cell it is shown.
 * @throws InputError if a file is not one of this version's, UsageError for a name that is no figure's
 */
export async function drawFigure(
  run: RunTables,
  name: FigureName,
  request: FigureRequest = {},
): Promise<Shown<Figure> | Shown<Missing>> {
  // Notebooks are not type-checked.
  if (!figureNames.includes(name)) {
    throw new UsageError(`drawFigure: found figure "${name}", expected one of ${figureNames.join(', ')}`);
  }
  const found = await figures[name](run, request);
  return isMissing(found)
    ? { ...found, [display]: () => ({ 'text/plain': `${found.missing} ${found.command}` }) }
    : shown(found);
}

/**
 * Draw heat maps of activation patching; `patchPanel` and `patchColumns` make them from results. As the last expression of a
 * notebook's cell they are shown.
 */
export function drawPatchGrid(grid: PatchGrid, options: FigureOptions = {}): Shown<Figure> {
  return shown(patchGridFigure(grid, options));
}

function shown(figure: Figure): Shown<Figure> {
  return { ...figure, [display]: () => ({ 'image/svg+xml': figure.svg, 'text/plain': figure.alternative }) };
}
