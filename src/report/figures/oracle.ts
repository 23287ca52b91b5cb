/** Error of the cached arm against that of the uncached one, a dot for each prompt, on equal logarithmic axes: below the diagonal the cached arm is nearer to float64. */
import type { OracleData, OraclePanel } from '../data/oracle.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { type Area, dotGroup, panelName, shownName, tickLabel, tickText, zeroStrip } from './plot.ts';
import { logarithmic, positiveExtent, type Scale } from './scale.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const left = 46;
const head = 40;
const gap = 22;
const strip = 12;
const stripGap = 5;

export function oracleFigure(data: OracleData, options: FigureOptions = {}): Figure {
  const title = titleOf(data);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Scatter of prompts. ${subtitle}` }, options, (palette, width) => {
    const columns = Math.min(data.panels.length, width >= 1000 ? 4 : 3);
    const own = Math.min(300, (width - gap * (columns - 1)) / columns);
    const height = head + (own - left - strip - stripGap) + strip + stripGap + 52;
    const parts = data.panels.flatMap((panel, i) => [
      `<g transform="translate(${round((i % columns) * (own + gap))} ${round(Math.floor(i / columns) * height)})">`,
      ...panelParts(panel, own, palette.theme),
      '</g>',
    ]);
    return { height: Math.ceil(data.panels.length / columns) * height, parts };
  });
}

/** `×1.28 [1.26–1.31]` */
function ratioText({ ratio, notFinite }: OraclePanel): string {
  if (notFinite > 0) return '× not a number';
  if (ratio === null) return '∅ no error';
  const { value, lower, upper } = ratio;
  const interval = lower === null || upper === null ? '' : ` [${lower.toFixed(2)}–${upper.toFixed(2)}]`;
  return `×${value.toFixed(2)}${interval}`;
}

function closer({ ratio }: OraclePanel): 'cached' | 'uncached' | 'neither' | null {
  if (ratio === null || ratio.lower === null || ratio.upper === null) return null;
  if (ratio.upper < 1) return 'cached';
  return ratio.lower > 1 ? 'uncached' : 'neither';
}

function titleOf({ panels }: OracleData): string {
  const [focus] = panels;
  const where = panels.length > 1 ? ` (${shownName(focus.name)})` : '';
  const ratio = ratioText(focus);
  const finding = {
    cached: 'The cached arm is nearer to float64',
    uncached: 'The uncached arm is nearer to float64',
    neither: 'Neither arm is nearer to float64',
  };
  const found = closer(focus);
  return `${found === null ? 'Against float64' : finding[found]}${where}: cached / uncached error ${ratio}`;
}

function subtitleOf({ panels, shared }: OracleData): string {
  const [{ prompts }] = panels;
  const missing = panels.reduce((sum, { notFinite }) => sum + notFinite, 0);
  return [
    `Mean L2 of mean-centred logits to the float64 oracle of the same rounded weights, a dot per prompt, ${shownName(shared, 60)}: ${formatCounted(prompts.length, 'prompt')}.`,
    `Both axes alike, log${panels.length > 1 ? ', own range in each panel' : ''}; on the diagonal both arms err alike.`,
    ...(missing > 0 ? [`× ${formatCounted(missing, 'prompt')} with NaN or Inf not drawn.`] : []),
  ].join(' ');
}

function panelParts(panel: OraclePanel, width: number, theme: Theme): string[] {
  const { prompts, name } = panel;
  const side = width - left - strip - stripGap;
  const plot: Area = { x: left + strip + stripGap, y: head, width: side, height: side };
  const extent = positiveExtent(prompts.flatMap(({ cached, uncached }) => [cached, uncached])) ?? [0.1, 1];
  const { x, y, ticks } = equalScales(extent, plot);
  const below = plot.y + side + stripGap;
  const zero = prompts.some(({ cached, uncached }) => cached === 0 || uncached === 0);
  return [
    panelName(0, 12, shownName(name, 34), theme),
    text(0, 28, `cached / uncached ${ratioText(panel)}`, theme.ink2, 'font-size="12"'),
    ...ticks.flatMap((tick) => [
      `<path d="M${plot.x} ${round(y(tick))}h${round(side)}M${round(x(tick))} ${plot.y}v${round(side)}" stroke="${theme.grid}"/>`,
      tickLabel(left - 4, y(tick) + 4, tickText(tick), theme, 'end'),
      tickLabel(x(tick), (zero ? below + strip : plot.y + side) + 16, tickText(tick), theme, 'middle'),
    ]),
    ...(zero
      ? [
          zeroStrip({ x: left, y: plot.y, width: strip, height: side }),
          zeroStrip({ x: plot.x, y: below, width: side, height: strip }),
          zeroStrip({ x: left, y: below, width: strip, height: strip }),
          tickLabel(left - 4, below + strip - 1, '0', theme, 'end'),
        ]
      : []),
    `<path d="M${plot.x} ${round(plot.y + side)}L${round(plot.x + side)} ${plot.y}" stroke="${theme.ink2}" stroke-width="1.2"/>`,
    dotGroup(
      prompts.map(({ prompt, cached, uncached }) => ({
        x: uncached > 0 ? x(uncached) : left + strip / 2,
        y: cached > 0 ? y(cached) : below + strip / 2,
        data: `data-prompt="${escapeXml(prompt)}" data-cached="${cached}" data-uncached="${uncached}"`,
      })),
      2.4,
      `fill="${theme.cached}" fill-opacity="0.6"`,
    ),
    tickLabel(plot.x + side, below + strip + 32, 'uncached error →', theme, 'end'),
    tickLabel(0, below + strip + 32, '↑ cached', theme, 'start'),
  ];
}

/** One range for both axes: not whole decades, where errors lie close together, but a little beyond them. */
function equalScales([low, high]: readonly [number, number], plot: Area) {
  const pad = Math.max((high / low) ** 0.12, 1.15);
  const [from, to] = [low / pad, high * pad];
  const share = (value: number) => Math.log(value / from) / Math.log(to / from);
  const decades: Scale = logarithmic([from, to], [0, 1], 4);
  const within = (leads: readonly number[]) =>
    leads
      .flatMap((lead) => Array.from({ length: 40 }, (_, i) => Number(`${lead}e${Math.floor(Math.log10(from)) + i}`)))
      .sort((a, b) => a - b);
  const [fine, finest] = [within([1, 2, 5]), within([1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9])];
  const inside = (ticks: readonly number[]) => ticks.filter((tick) => tick >= from && tick <= to);
  const ticks = [decades.ticks, fine, finest].map(inside).find((found, i) => found.length >= [3, 2, 0][i]) ?? [];
  return {
    x: (value: number) => plot.x + share(value) * plot.width,
    y: (value: number) => plot.y + plot.height - share(value) * plot.height,
    ticks: spaced(ticks, 4),
  };
}

/** At most so many ticks, evenly taken. */
function spaced(ticks: readonly number[], most: number): number[] {
  const every = Math.ceil(ticks.length / most);
  return ticks.filter((_, i) => i % every === 0);
}
