/**
 * Margin against drift, log–log: right of the line margin = 2·max|Δ| no greedy step can flip. Exact ties and steps without a
 * difference have strips of their own; steps beyond some thousands are pixels.
 */
import { binsPerDecade, type MarginDriftData, type StepSet } from '../data/margin-drift.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  bottomTicks,
  dotGroup,
  haloText,
  shapePath,
  shownName,
  textWidth,
  tickLabel,
  zeroStrip,
} from './plot.ts';
import { type Raster, rasterImage } from './raster.ts';
import { logarithmic, type Scale } from './scale.ts';
import { escapeXml, round } from './svg.ts';
import { divergingColor, type Palette, type Theme } from './theme.ts';

const plotHeight = 280;
const tieWidth = 34;
const zeroHeight = 22;
/** Wide enough that the strip’s label and the first tick stay apart. */
const aside = 24;
const gap = 8;
const left = 52;
const top = 24;

export function marginDriftFigure(data: MarginDriftData, options: FigureOptions = {}): Figure {
  const title = titleOf(data);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Scatter of steps. ${subtitle}` }, options, (palette, width) => {
    const plot = {
      x: left + tieWidth + aside,
      y: top,
      width: width - left - tieWidth - aside - 16,
      height: plotHeight,
    };
    const scales = scalesOf(data, plot);
    return {
      height: top + plotHeight + gap + zeroHeight + 42,
      parts: [
        ...axes(plot, scales, palette.theme),
        ...line(plot, scales, palette.theme),
        ...marks(data.kept, scales, plot, palette, false),
        ...marks(data.flipped, scales, plot, palette, true),
        ...flipLabel(data, scales, plot, palette.theme),
      ],
    };
  });
}

interface Scales {
  margin: Scale;
  drift: Scale;
}

function scalesOf({ marginExtent, driftExtent }: MarginDriftData, plot: Area): Scales {
  return {
    margin: logarithmic(marginExtent ?? [0.01, 10], [plot.x, plot.x + plot.width], 6),
    drift: logarithmic(driftExtent ?? [0.001, 1], [plot.y + plot.height, plot.y], 5),
  };
}

function titleOf({ flips, steps, ties, reachable, equal, withoutMargin, notFinite }: MarginDriftData): string {
  const all = steps + withoutMargin + notFinite;
  const { count, widest } = flips;
  if (count === 0) {
    if (equal === all) return `No logit differs in ${formatCounted(all, 'step')}`;
    if (reachable === 0)
      return `No token flips: in none of ${formatCounted(steps, 'step')} does drift reach the margin`;
    return `No token flips; in ${formatCount(reachable)} of ${formatCounted(steps, 'step')} drift could reach the margin`;
  }
  const how = `${formatCount(count)} of ${formatCounted(all, 'step')} ${count === 1 ? 'picks' : 'pick'} another token`;
  const tied = flips.ties > 0 ? `; ${formatCount(flips.ties)} at an exact tie` : '';
  if (widest === null) return `${how}${tied}`;
  if (widest === 0) return `${how}, each at an exact tie${ties > count ? ` of ${formatCount(ties)}` : ''}`;
  return `${how}, at margins of at most ${formatValue(widest)}${tied}`;
}

function subtitleOf(data: MarginDriftData): string {
  const { steps, withoutMargin, notFinite, equal, flips, name, prompts } = data;
  const more = [
    ...(equal > 0 ? [`In ${formatCount(equal)} no logit differs (strip below).`] : []),
    ...(flips.beyond > 0
      ? [`Of the flips ${formatCount(flips.beyond)} lie right of the line: cut of top-k or top-p.`]
      : []),
    ...(withoutMargin > 0 ? [`${formatCount(withoutMargin)} without a margin are not drawn.`] : []),
    ...(notFinite > 0 ? [`× ${formatCount(notFinite)} with NaN or Inf are not drawn.`] : []),
  ];
  return [
    `${shownName(name, 80)}: ${formatCounted(steps, 'step')} of ${formatCounted(prompts, 'prompt')}, log–log, in logits.`,
    'A flip is possible left of the line, where 2·max|Δ| ≥ margin.',
    ...more,
  ].join(' ');
}

function axes(plot: Area, { margin, drift }: Scales, theme: Theme): string[] {
  const below = plot.y + plot.height + gap;
  const ties = { x: left, y: plot.y, width: tieWidth, height: plot.height };
  return [
    zeroStrip(ties),
    zeroStrip({ ...ties, y: below, height: zeroHeight }),
    zeroStrip({ x: plot.x, y: below, width: plot.width, height: zeroHeight }),
    ...acrossGrid({ ...plot, x: left, width: plot.x - left + plot.width }, drift, theme),
    ...margin.ticks.map(
      (tick) => `<path d="M${round(margin.at(tick))} ${plot.y}v${plot.height}" stroke="${theme.grid}"/>`,
    ),
    tickLabel(left - 8, below + zeroHeight / 2 + 4, '0', theme, 'end'),
    tickLabel(left + tieWidth / 2, below + zeroHeight + 16, '0 (tie)', theme, 'middle'),
    ...bottomTicks(below + zeroHeight + 16, margin, theme),
    tickLabel(0, 12, '↑ max |Δ| of logits', theme, 'start'),
    tickLabel(plot.x + plot.width, below + zeroHeight + 34, 'margin of the uncached arm’s choice →', theme, 'end'),
  ];
}

/** margin = 2·max|Δ|, as far as it crosses the plot. */
function line(plot: Area, { margin, drift }: Scales, theme: Theme): string[] {
  const from = Math.max(margin.domain[0] / 2, drift.domain[0]);
  const to = Math.min(margin.domain[1] / 2, drift.domain[1]);
  if (from >= to) return [];
  const ends = [from, to].map((value) => ({ x: margin.at(2 * value), y: drift.at(value) }));
  const [a, b] = ends;
  const turn = (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI;
  const long = Math.hypot(b.x - a.x, b.y - a.y);
  const path = `<path d="M${round(a.x)} ${round(a.y)}L${round(b.x)} ${round(b.y)}" stroke="${theme.ink}" stroke-width="1.4"/>`;
  if (long < 120) return [path];
  // Beside the line at its upper end, on the side where a flip is possible.
  const along = (long - 10) / long;
  const normal = { x: ((b.y - a.y) / long) * 6, y: (-(b.x - a.x) / long) * 6 };
  const at = { x: a.x + (b.x - a.x) * along + normal.x, y: a.y + (b.y - a.y) * along + normal.y };
  if (at.x < plot.x) return [path];
  return [path, haloText(at.x, at.y, 'flip possible', { theme, anchor: 'end', weight: 400, turn })];
}

function marks(set: StepSet, scales: Scales, plot: Area, palette: Palette, flips: boolean): string[] {
  return set.dots === null
    ? pixels(set, scales, plot, palette, flips)
    : dots(set.dots, scales, plot, palette.theme, flips);
}

function dots(found: NonNullable<StepSet['dots']>, scales: Scales, plot: Area, theme: Theme, flips: boolean): string[] {
  const marks = found.map(({ prompt, step, margin, drift }) => ({
    x: margin === 0 ? left + tieWidth / 2 : scales.margin.at(margin),
    y: drift === 0 ? plot.y + plot.height + gap + zeroHeight / 2 : scales.drift.at(drift),
    data: `data-prompt="${escapeXml(prompt)}" data-step="${step}" data-margin="${margin}" data-drift="${drift}"`,
  }));
  if (!flips) return [dotGroup(marks, 1.7, `fill="${theme.ink2}" fill-opacity="0.45"`)];
  return marks.map(
    ({ x, y, data }) =>
      `<path d="${shapePath('diamond', x, y, 4.5)}" fill="${theme.ink}" stroke="${theme.background}" stroke-width="1" ${data}/>`,
  );
}

const classes = 6;
/** Pixels narrower than this cannot be told from nothing: bins are joined. */
const leastPixels = 2.5;

/** Steps as pixels: one image over the plot, one over each strip, one for the corner; darker where more steps are. */
function pixels({ bins }: StepSet, { margin, drift }: Scales, plot: Area, palette: Palette, flips: boolean): string[] {
  const columns = grid(margin, plot.width);
  const rows = grid(drift, plot.height);
  const colors = (theme: Theme) =>
    Array.from({ length: classes }, (_, i) => {
      const share = flips ? 1 : 0.3 + (0.6 * i) / (classes - 1);
      return divergingColor({ ...theme, panel: theme.background, above: theme.ink }, share, 1);
    });
  const below = plot.y + plot.height + gap + zeroHeight / 2;
  const middle = left + tieWidth / 2;
  const images = [
    { tie: false, zero: false, place: plot },
    { tie: true, zero: false, place: { ...plot, x: middle - 2, width: 4 } },
    { tie: false, zero: true, place: { ...plot, y: below - 2, height: 4 } },
    { tie: true, zero: true, place: { x: middle - 2, y: below - 2, width: 4, height: 4 } },
  ];
  return images.flatMap(({ tie, zero, place }) => {
    const own = bins.filter((bin) => (bin.margin === null) === tie && (bin.drift === null) === zero);
    if (own.length === 0) return [];
    const size = { width: tie ? 1 : columns.count, height: zero ? 1 : rows.count };
    const steps = new Float64Array(size.width * size.height);
    for (const bin of own) {
      const [x, y] = [tie ? 0 : columns.at(bin.margin ?? 0), zero ? 0 : rows.count - 1 - rows.at(bin.drift ?? 0)];
      steps[y * size.width + x] += bin.steps;
    }
    const raster: Raster = { ...size, indices: Uint8Array.from(steps, classOf) };
    return [rasterImage(raster, place, palette, colors)];
  });
}

/** Class of a number of steps: 0 for none, then by powers of two. */
function classOf(steps: number): number {
  return steps === 0 ? 0 : Math.min(classes, 1 + Math.floor(Math.log2(steps)));
}

/** The cells of an axis: bins, several of them together where they would be too small. */
function grid({ domain }: Scale, pixels: number): { count: number; at: (bin: number) => number } {
  const [low, high] = domain.map((end) => Math.round(Math.log10(end)) * binsPerDecade);
  // A divisor of a decade, so that cells end where the axis does.
  const joined = [1, 2, 4, 5, 8, 10, 20].find((size) => (pixels * size) / (high - low) >= leastPixels) ?? binsPerDecade;
  const count = (high - low) / joined;
  return { count, at: (bin) => Math.min(count - 1, Math.max(0, Math.floor((bin - low) / joined))) };
}

/** `11 flips, margin ≤ 0.016`, above the flips; where it would reach the line, and the dots about it, the title has to do. */
function flipLabel({ flips, flipped }: MarginDriftData, { margin, drift }: Scales, plot: Area, theme: Theme): string[] {
  if (flipped.dots === null || flipped.dots.length === 0) return [];
  const bottom = plot.y + plot.height;
  const highest = Math.max(0, ...flipped.dots.map((dot) => dot.drift));
  const y = Math.max(plot.y + 12, (highest === 0 ? bottom : drift.at(highest)) - 14);
  const widest = flips.widest ?? 0;
  const label =
    formatCounted(flips.count, 'flip') + (widest > 0 ? `, margin ≤ ${formatValue(widest)}` : ', exact ties');
  const x = plot.x + 6;
  const [low, high] = drift.domain;
  const line = margin.at(2 * low * (high / low) ** ((bottom - y) / plot.height));
  return x + textWidth(label) + 6 > line ? [] : [haloText(x, y, label, { theme })];
}
