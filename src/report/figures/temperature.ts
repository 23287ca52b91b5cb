/** Total variation of the arms by temperature, logarithmic upwards; a band to the upper bound of a keyed flip rate; exact zeros in a strip. */
import type { TemperatureCurve, TemperatureData } from '../data/temperature.ts';
import { formatCounted, formatValue } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  bottomTicks,
  haloText,
  kernelShapes,
  precisionColor,
  shapePath,
  shownName,
  spread,
  textWidth,
  tickLabel,
  zeroStrip,
} from './plot.ts';
import { linear, logarithmic, positiveExtent, type Scale } from './scale.ts';
import { escapeXml, round } from './svg.ts';
import type { Theme } from './theme.ts';

const plotHeight = 260;
const left = 56;
const top = 20;
const stripHeight = 18;
const gap = 8;

export function temperatureFigure(data: TemperatureData, options: FigureOptions = {}): Figure {
  const { curves } = data;
  const title = titleOf(curves);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Lines. ${subtitle}` }, options, (palette, width) => {
    const { theme } = palette;
    const right = Math.min(width * 0.36, Math.max(...curves.map(({ name }) => textWidth(shownName(name, 32)))) + 18);
    const plot: Area = { x: left, y: top, width: width - left - right, height: plotHeight };
    const found = curves.flatMap(({ at }) => at.flatMap(({ tv, upper }) => [tv?.value ?? null, upper?.value ?? null]));
    const most = Math.max(...curves.flatMap(({ at }) => at.map(({ temperature }) => temperature)));
    const axes: Axes = {
      x: linear([0, most], [plot.x, plot.x + plot.width], 5),
      y: logarithmic(positiveExtent(found) ?? [1e-6, 1], [plot.y + plotHeight, plot.y], 5),
      strip: plot.y + plotHeight + gap,
    };
    const kernels = [...new Set(curves.map((curve) => curve.kernels))];
    const ends = curves.map((curve) => heightOf(curve.at[curve.at.length - 1], axes));
    const places = spread(ends, 16, [plot.y, axes.strip + stripHeight]);
    return {
      height: axes.strip + stripHeight + 42,
      parts: [
        tickLabel(0, 10, '↑ mean total variation', theme, 'start'),
        ...acrossGrid(plot, axes.y, theme),
        zeroStrip({ x: plot.x, y: axes.strip, width: plot.width, height: stripHeight }),
        tickLabel(plot.x - 8, axes.strip + stripHeight / 2 + 4, '0', theme, 'end'),
        ...curves.toReversed().flatMap((curve) => curveParts(curve, kernels.indexOf(curve.kernels), axes, theme)),
        ...curves.map(({ name, precision }, i) =>
          haloText(plot.x + plot.width + 12, places[i] + 4, shownName(name, 32), {
            ...{ theme, fill: precisionColor(precision, theme), weight: i === 0 && curves.length > 1 ? 700 : 500 },
          }),
        ),
        ...bottomTicks(axes.strip + stripHeight + 16, axes.x, theme),
        tickLabel(plot.x + plot.width, axes.strip + stripHeight + 33, 'temperature →', theme, 'end'),
      ],
    };
  });
}

interface Axes {
  x: Scale;
  y: Scale;
  /** Top of the strip of zeros. */
  strip: number;
}

type Point = TemperatureCurve['at'][number];

/** Pixel of a point's total variation: zeros in the strip, what is not a number above it. */
function heightOf({ tv }: Point, { y, strip }: Axes): number {
  if (tv === null) return strip - 12;
  return tv.value > 0 ? y.at(tv.value) : strip + stripHeight / 2;
}

function titleOf(curves: readonly TemperatureCurve[]): string {
  const [{ at, name }] = curves;
  const where = curves.length > 1 ? `${shownName(name)}: ` : '';
  const known = at.filter(({ tv }) => tv !== null);
  if (known.length === 0) return `${where}Total variation is not a number at any temperature`;
  const value = (point: Point) => point.tv?.value ?? 0;
  const order = known.toSorted((a, b) => value(a) - value(b));
  const [least, most] = [order[0], order[order.length - 1]];
  if (value(most) === 0) return `${where}The distributions of the arms are equal at every temperature`;
  const say = (point: Point) => `${formatValue(value(point))} at temperature ${point.temperature}`;
  if (least === most) return `${where}Total variation of the arms is ${say(most)}`;
  return `${where}Total variation of the arms is least, ${say(least)}, and largest, ${say(most)}`;
}

function subtitleOf({ curves, shared }: TemperatureData): string {
  const points = curves.flatMap(({ at }) => at);
  return [
    `Mean per step between the arms’ distributions of raw logits, teacher-forced, log scale, ${shownName(shared, 60)}: ${formatCounted(curves[0].steps, 'step')}.`,
    'Line: TV, below which no keyed Gumbel-max flip rate lies; band up to 2 TV/(1 + TV), above which none lies. Whiskers: 95 % by prompt.',
    ...(points.some(({ tv }) => tv?.value === 0) ? ['Strip: exactly 0.'] : []),
    ...(points.some(({ tv }) => tv === null) ? ['×: not a number.'] : []),
  ].join(' ');
}

function curveParts(curve: TemperatureCurve, kernel: number, axes: Axes, theme: Theme): string[] {
  const { at, precision, condition } = curve;
  const { x, y } = axes;
  const color = precisionColor(precision, theme);
  const shape = kernelShapes[kernel % kernelShapes.length];
  const parts: string[] = [];
  // Neighbours that are both positive are joined; a zero is no end of a line on a logarithmic axis.
  for (let i = 1; i < at.length; i++) {
    const [a, b] = [at[i - 1], at[i]];
    if (!((a.tv?.value ?? 0) > 0 && (b.tv?.value ?? 0) > 0)) continue;
    const [from, to] = [round(x.at(a.temperature)), round(x.at(b.temperature))];
    const [low, lowNext] = [round(heightOf(a, axes)), round(heightOf(b, axes))];
    if (a.upper && b.upper)
      parts.push(
        `<path d="M${from} ${low}L${to} ${lowNext}V${round(y.at(b.upper.value))}L${from} ${round(y.at(a.upper.value))}Z" fill="${color}" fill-opacity="0.14"/>`,
      );
    parts.push(`<path d="M${from} ${low}L${to} ${lowNext}" stroke="${color}" stroke-width="1.6"/>`);
  }
  for (const point of at) {
    const [place, height] = [x.at(point.temperature), heightOf(point, axes)];
    const data = `data-condition="${escapeXml(condition)}" data-temperature="${point.temperature}"`;
    if (point.tv === null) {
      parts.push(
        `<path d="${shapePath('cross', place, height, 4)}" stroke="${theme.bad}" stroke-width="1.8" fill="none" ${data}/>`,
      );
      continue;
    }
    const { lower, upper, value } = point.tv;
    if (lower !== null && upper !== null && value > 0) {
      const low = lower > 0 ? Math.min(axes.strip - gap, y.at(lower)) : axes.strip;
      parts.push(`<path d="M${round(place)} ${round(low)}V${round(y.at(upper))}" stroke="${color}" stroke-width="1"/>`);
    }
    parts.push(`<path d="${shapePath(shape, place, height, 3.6)}" fill="${color}" ${data}/>`);
  }
  return parts;
}
