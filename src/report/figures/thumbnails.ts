/** The same map under several conditions, a pixel per cell, on one scale: where differences lie, side by side. */

import { sharedName, shortNames } from '../data/conditions.ts';
import type { LayerMap } from '../data/layer-map.ts';
import { cellStates } from '../data/layer-map.ts';
import { formatCount } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { mapBody } from './map-body.ts';
import { firstDifference, gridCell, hookLabel, mapGrid, type RowSelection } from './map-grid.ts';
import { mapLegend } from './map-legend.ts';
import { colorScale, type Measure } from './map-measure.ts';
import { countSteps } from './map-words.ts';
import { shownName } from './plot.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Palette } from './theme.ts';

export interface ThumbnailOptions extends FigureOptions {
  /** Default `main`. */
  rows?: RowSelection;
  /** Default `u`. */
  measure?: Measure;
}

const bodyHeight = 46;
const panelHeight = 104;
const gap = 14;
const narrowest = 190;

/** Draw the maps, the first one first. @param maps at least one */
export function thumbnailFigure(maps: readonly LayerMap[], options: ThumbnailOptions = {}): Figure {
  const { rows = 'main', measure = 'u' } = options;
  const names = shortNames(maps.map(({ condition }) => condition));
  const named = maps.map((map) => ({ map, name: shownName(names.get(map.condition.condition) ?? '') }));
  const counts = named.map(({ map, name }) => ({ name, ...countSteps(map), steps: map.steps.length }));
  const shared = shownName(sharedName(maps.map(({ condition }) => condition)));
  const scales = maps.map((map) => colorScale(map, measure));
  // u is each condition's own.
  const scaleName = measure === 'u' ? 'relative L2 in u, each condition’s own roundoff' : scales[0].name;
  const texts = {
    title: titleOf(counts),
    subtitle: `${shared === '' ? '' : `${shared}, `}${promptsOf(maps)}: ${scaleName}; operations run downwards, decode steps to the right, the same scale in all.`,
    shows: counts.map(({ name, differ, steps }) => `${name}: ${differ} of ${steps} steps differ`).join('; '),
  };
  return frame(texts, options, (palette, width) => {
    const across = Math.max(1, Math.min(maps.length, 5, Math.floor((width + gap) / (narrowest + gap))));
    const panelWidth = (width - (across - 1) * gap) / across;
    const odd = (state: number) => maps.some(({ states }) => states.includes(state));
    const marks = { nan: odd(cellStates.nan), infinite: odd(cellStates.infinite) };
    const legend = mapLegend(0, width, { scale: scales[0], zero: 'exactly 0 (bit-equal)', ...marks }, palette);
    const panels = named.map(({ map, name }, i) => {
      const [x, y] = [(i % across) * (panelWidth + gap), legend.height + 4 + Math.floor(i / across) * panelHeight];
      const parts = panel(map, name, { rows, measure, width: panelWidth }, palette);
      return `<g class="thumbnail" data-condition="${escapeXml(map.condition.condition)}" transform="translate(${round(x)} ${y})">${parts.join('')}</g>`;
    });
    const height = legend.height + Math.ceil(maps.length / across) * panelHeight;
    return { height, parts: [...legend.parts, ...panels] };
  });
}

/** `prompt 15`, or that models have prompts of their own. */
function promptsOf(maps: readonly LayerMap[]): string {
  const [first] = maps;
  const alike = maps.every(({ prompt }) => prompt === first.prompt);
  return alike ? `one prompt, ${first.promptIndex ?? shownName(first.prompt, 16)}` : 'one prompt of each model';
}

function panel(
  map: LayerMap,
  name: string,
  { rows, measure, width }: { rows: RowSelection; measure: Measure; width: number },
  palette: Palette,
): string[] {
  const { theme } = palette;
  const grid = mapGrid(map, rows);
  const scale = colorScale(map, measure);
  const first = firstDifference(map);
  const { differ, equal, unknown } = countSteps(map);
  const where = first
    ? `first: step ${map.steps[first.step].step}, ${hookLabel(map.hooks[first.hook])}`
    : differ === 0 && unknown === 0
      ? 'bit-equal'
      : 'no captured row differs';
  const most = Math.max(8, Math.floor(width / 6.4));
  const parts = [
    text(0, 11, shownName(name, most), theme.ink, 'font-size="12" font-weight="620"'),
    text(0, bodyHeight + 32, where, theme.ink2, 'font-size="12"'),
    text(
      0,
      bodyHeight + 48,
      `${formatCount(equal)} / ${formatCount(map.steps.length)} steps exactly 0`,
      theme.ink3,
      'font-size="12"',
    ),
  ];
  if (grid.rows.length === 0) return [...parts, text(0, 40, 'no row captured', theme.ink3, 'font-size="12"')];
  const rowHeight = bodyHeight / grid.rows.length;
  const shares = grid.layersPerRow > 1 || grid.stepsPerColumn > 1;
  const place = {
    ...{ x: 0, tops: grid.rows.map((_, i) => 17 + i * rowHeight), rowHeight, cellWidth: width / grid.columns.length },
    // Cells that hold several values are four pixels high, to show the share of exact zeros.
    pixel: shares ? rowHeight / 4 : rowHeight,
  };
  const cells = grid.rows.map((row) => grid.columns.map((column) => gridCell(map, row, column, scale.value)));
  return [...parts, ...mapBody(cells, place, scale, palette)];
}

function titleOf(counts: readonly { name: string; differ: number; unknown: number; steps: number }[]): string {
  const of = ({ differ, steps }: { differ: number; steps: number }) =>
    differ === 0 || differ === steps
      ? `${differ === 0 ? 'none of' : 'all'} ${formatCount(steps)}`
      : `${formatCount(differ)} of ${formatCount(steps)}`;
  if (counts.length === 1) return `Steps that differ: ${of(counts[0])} under ${counts[0].name}`;
  if (counts.every(({ differ, unknown }) => differ + unknown === 0))
    return `Not one bit differs under any of ${counts.length} conditions`;
  if (counts.every(({ differ, steps }) => differ === steps))
    return `Every step differs under each of ${counts.length} conditions`;
  const [least, most] = [-1, 1].map((sign) =>
    counts.reduce((best, each) => (sign * (each.differ / each.steps - best.differ / best.steps) > 0 ? each : best)),
  );
  return `Steps that differ: ${of(least)} under ${least.name}, ${of(most)} under ${most.name}`;
}
