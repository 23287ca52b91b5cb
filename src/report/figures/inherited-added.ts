/** Drift by layer, measured, and what of it the layer's kernel adds and what comes through the history; a panel per condition. */
import { sharedName, shortNames } from '../data/conditions.ts';
import type { ConditionDrift, LayerDrift } from '../data/inherited-added.ts';
import { formatCount, formatShare, formatValue } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { acrossGrid, type Shape, shapePath, shownName, textWidth, zeroStrip } from './plot.ts';
import { logarithmic, positiveExtent, type Scale } from './scale.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

type Part = 'measured' | 'added' | 'viaHistory';
interface Series {
  part: Part;
  name: string;
  shape: Shape;
  color: (theme: Theme) => string;
}

const series: readonly Series[] = [
  { part: 'measured', name: 'measured', shape: 'circle', color: ({ ink }) => ink },
  { part: 'viaHistory', name: 'through the history', shape: 'square', color: ({ cached }) => cached },
  {
    part: 'added',
    name: 'added: same input and history, the kernel alone',
    shape: 'triangle',
    color: ({ uncached }) => uncached,
  },
];
const panelHeight = 216;
const area = { left: 44, right: 10, top: 26, bottom: 158, strip: 12 };

/** @param drifts at least one, each of at least one layer */
export function inheritedAddedFigure(drifts: readonly ConditionDrift[], options: FigureOptions = {}): Figure {
  const conditions = drifts.map(({ condition }) => condition);
  const names = shortNames(conditions);
  const nameOf = ({ condition }: ConditionDrift) => shownName(names.get(condition.condition) ?? '');
  const shared = shownName(sharedName(conditions));
  const texts = {
    title: titleOf(drifts[0], drifts.length > 1 ? ` under ${nameOf(drifts[0])}` : ''),
    subtitle: `${shared === '' ? '' : `${shared}: `}rms relative L2 of the residual stream after each layer, in u, log; hatched: exactly 0. ${counted(drifts)}.`,
    shows: drifts.map((each) => `${nameOf(each)}: ${lastWords(each)}`).join('; '),
  };
  return frame(texts, options, (palette, width) => {
    const { theme } = palette;
    const gap = 24;
    const across = Math.max(1, Math.min(drifts.length, Math.floor((width + gap) / (262 + gap)), 4));
    const panelWidth = (width - (across - 1) * gap) / across;
    const values = drifts.flatMap(({ layers }) => layers.flatMap((layer) => series.map(({ part }) => layer[part])));
    const range = [area.bottom - area.strip - 8, area.top + 6] as const;
    const scale = logarithmic(positiveExtent(values) ?? [0.01, 1], range, 4);
    const legend = legendParts(width, theme);
    const panels = drifts.map((each, i) => {
      const place = `translate(${round((i % across) * (panelWidth + gap))} ${legend.height + Math.floor(i / across) * panelHeight})`;
      const data = `data-condition="${escapeXml(each.condition.condition)}"`;
      return `<g ${data} transform="${place}">${panel(each, nameOf(each), panelWidth, scale, theme).join('')}</g>`;
    });
    const height = legend.height + Math.ceil(drifts.length / across) * panelHeight - 10;
    return { height, parts: [...legend.parts, ...panels] };
  });
}

function legendParts(width: number, theme: Theme): { height: number; parts: string[] } {
  let [x, y] = [0, 10];
  const parts = series.flatMap(({ name, shape, color }) => {
    const own = 16 + textWidth(name);
    if (x > 0 && x + own > width) [x, y] = [0, y + 20];
    const at = x;
    x += own + 22;
    return [
      `<path d="${shapePath(shape, at + 5, y - 4, 4)}" fill="${color(theme)}"/>`,
      text(round(at + 15), y, name, color(theme), 'font-size="12"'),
    ];
  });
  return { height: y + 18, parts };
}

function panel({ layers }: ConditionDrift, name: string, width: number, scale: Scale, theme: Theme): string[] {
  const plot = { x: area.left, y: area.top, width: width - area.left - area.right, height: area.bottom - area.top };
  const strip = { x: plot.x, y: area.bottom - area.strip, width: plot.width, height: area.strip };
  const middle = strip.y + strip.height / 2;
  const x = (i: number) => round(plot.x + ((i + 0.5) / layers.length) * plot.width);
  const y = (value: number) => (value === 0 ? middle : round(scale.at(value)));
  const every = Math.max(1, Math.ceil((layers.length * 26) / plot.width));
  // Marks of exact zeros stand beside each other.
  const beside = { measured: -8, viaHistory: 0, added: 8 };
  const lines = series.toReversed().map(({ part, shape, color }) => {
    const own = layers.map((layer) => layer[part]);
    // A line joins sizes; a zero is none, and a NaN is nothing that could be joined.
    const path = own
      .map((value, i) => (value > 0 ? `${i > 0 && own[i - 1] > 0 ? 'L' : 'M'}${x(i)} ${y(value)}` : ''))
      .join('');
    const size = layers.length > 40 ? 2 : 3.4;
    const marks = own.map((value, i) =>
      Number.isNaN(value)
        ? text(x(i), area.top + 2, '×', theme.bad, 'class="odd" font-size="13" font-weight="700" text-anchor="middle"')
        : `<path class="${part}" data-layer="${layers[i].layer}" data-part="${part}" data-value="${value}" d="${shapePath(shape, x(i) + (value === 0 ? beside[part] : 0), y(value), size)}" fill="${color(theme)}"/>`,
    );
    return `${path === '' ? '' : `<path d="${path}" fill="none" stroke="${color(theme)}" stroke-width="1.8"/>`}${marks.join('')}`;
  });
  return [
    text(0, 12, shownName(name, Math.floor(width / 6.6)), theme.ink, 'font-size="12.5" font-weight="620"'),
    zeroStrip(strip),
    ...acrossGrid(plot, scale, theme),
    text(plot.x - 8, middle + 4, '0', theme.ink2, 'font-size="12" text-anchor="end"'),
    ...lines,
    ...layers.flatMap(({ layer }, i) =>
      i % every === 0
        ? [
            text(
              x(i),
              area.bottom + 16,
              i === 0 ? `L${layer}` : String(layer),
              theme.ink2,
              'font-size="12" text-anchor="middle"',
            ),
          ]
        : [],
    ),
    text(plot.x, area.bottom + 33, zeroWords(layers), theme.ink3, 'font-size="11.5"'),
  ];
}

/** `added is 0 in 97–99 % of steps`. */
function zeroWords(layers: readonly LayerDrift[]): string {
  const shares = layers.map(({ zeros, steps }) => zeros.added / steps);
  const [low, high] = [formatShare(Math.min(...shares)), formatShare(Math.max(...shares))];
  const isPlain = /^\d+ %$/.test(low) && /^\d+ %$/.test(high);
  const range = low === high ? low : isPlain ? `${low.replace(' %', '')}–${high}` : `${low} to ${high}`;
  return `added is exactly 0 in ${range} of steps`;
}

function counted(drifts: readonly ConditionDrift[]): string {
  const range = (values: readonly number[]) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return low === high ? formatCount(low) : `${formatCount(low)}–${formatCount(high)}`;
  };
  const prompts = range(drifts.map((each) => each.prompts));
  const steps = range(drifts.map(({ layers }) => layers[0].steps));
  return `${steps} steps of ${prompts} ${prompts === '1' ? 'prompt' : 'prompts'}${drifts.length > 1 ? ' each' : ''}`;
}

function lastWords({ layers }: ConditionDrift): string {
  const { layer, measured, added, viaHistory } = layers[layers.length - 1];
  return `after layer ${layer} ${formatValue(measured)} u, of which the kernel adds ${formatValue(added)} u and ${formatValue(viaHistory)} u come through the history`;
}

/** What stands at the last layer, against what it adds. */
function titleOf({ layers }: ConditionDrift, under: string): string {
  const last = layers[layers.length - 1];
  const { layer, measured, added } = last;
  const odd = layers.find((each) => Number.isNaN(each.measured));
  if (odd) return `NaN or Inf after layer ${odd.layer}${under}`;
  if (layers.every((each) => each.measured === 0)) return `Not one bit differs after any layer${under}`;
  if (layers.every((each) => each.added === 0))
    return `No layer’s kernel adds anything${under}: all of the drift is inherited`;
  const exactly = (value: number) => (value === 0 ? 'exactly 0' : `${formatValue(value)} u`);
  if (measured === 0 || added === 0)
    return `After layer ${layer} the drift is ${exactly(measured)}${under}; what its kernel adds is ${exactly(added)}`;
  const ratio = measured / added;
  if (ratio < 1.2) return `After layer ${layer} the drift is about what that layer adds by itself${under}`;
  return `After layer ${layer} the drift is ×${formatValue(ratio)} what that layer adds by itself${under}: the rest is inherited`;
}
