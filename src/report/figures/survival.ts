/** Share of texts still identical by step: a step curve for each condition, a band about the focused one, labels at their ends. */
import { rateInterval } from '../../numerics/rate-interval.ts';
import type { SurvivalCurve, SurvivalData } from '../data/survival.ts';
import { formatCount, formatCounted, formatPercent } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  bottomTicks,
  haloText,
  mostReadable,
  precisionColor,
  readable,
  shownName,
  spread,
  textWidth,
  tickLabel,
} from './plot.ts';
import { linear, type Scale } from './scale.ts';
import { dataAttributes, round } from './svg.ts';
import type { Theme } from './theme.ts';

const plotHeight = 280;
const left = 52;
const top = 12;
/** Where the axis may begin where no curve comes below, largest first. */
const floors = [0.9, 0.75, 0.5, 0];

export function survivalFigure(data: SurvivalData, options: FigureOptions = {}): Figure {
  const { curves, band } = data;
  const least = Math.min(
    ...curves.flatMap(({ steps }) => steps.map(({ identical }) => identical)),
    ...band.map(({ lower }) => lower),
  );
  const floor = floors.find((each) => each <= least) ?? 0;
  const title = titleOf(curves);
  const subtitle = subtitleOf(data, floor);
  return frame({ title, subtitle, shows: `Step curves. ${subtitle}` }, options, (palette, width) => {
    const { theme } = palette;
    const labels = endLabels(curves);
    const right = Math.min(width * 0.42, Math.max(...labels.map(({ text }) => textWidth(text, 12.5))) + 14);
    const plot = { x: left, y: top, width: width - left - right, height: plotHeight };
    const scales = {
      x: linear([0, Math.max(1, ...curves.map(({ last }) => last))], [plot.x, plot.x + plot.width], 5),
      y: linear([floor, 1], [plot.y + plot.height, plot.y], 4),
    };
    const percent = (share: number) => `${Math.round(share * 100)}${share === 1 ? ' %' : ''}`;
    // The focus is drawn last, over the others.
    const drawn = curves.map((curve, i) => ({ curve, focus: i === 0 && curves.length > 1 })).reverse();
    return {
      height: top + plotHeight + 40,
      parts: [
        ...acrossGrid(plot, scales.y, theme, percent),
        ...bandParts(data, scales, theme),
        ...drawn.map(({ curve, focus }) => curvePath(curve, scales, theme, focus || curves.length === 1)),
        ...labelParts(labels, plot, scales.y, theme),
        ...readableSteps(curves, scales),
        ...bottomTicks(
          plot.y + plot.height + 17,
          { ...scales.x, ticks: scales.x.ticks.filter(Number.isInteger) },
          theme,
        ),
        tickLabel(plot.x + plot.width, plot.y + plot.height + 34, 'new tokens →', theme, 'end'),
      ],
    };
  });
}

function titleOf(curves: readonly SurvivalCurve[]): string {
  const [focus] = curves;
  const rate = ({ diverged, texts }: SurvivalCurve) => diverged / texts;
  const order = curves.toSorted((a, b) => rate(a) - rate(b));
  const [least, most] = [order[0], order[order.length - 1]];
  if (most.diverged === 0) {
    const where = curves.length === 1 ? '' : ` in any of ${formatCounted(curves.length, 'condition')}`;
    return `No text parts${where}: 0/${formatCount(focus.texts)} ${interval(focus)}`;
  }
  if (curves.length === 1) return `${counted(focus)} texts part, ${share(focus)} ${interval(focus)}`;
  if (least === most || rate(least) === rate(most)) return `${counted(focus)} texts part in each condition`;
  return `From ${counted(least)} (${shownName(least.name)}) to ${counted(most)} (${shownName(most.name)}) texts part`;
}

const counted = ({ diverged, texts }: SurvivalCurve) => `${formatCount(diverged)}/${formatCount(texts)}`;
const share = ({ diverged, texts }: SurvivalCurve) => `${formatPercent(diverged / texts, texts)} %`;

function interval({ diverged, texts }: SurvivalCurve): string {
  const { low, high } = rateInterval(diverged, texts);
  return `[${formatPercent(low, texts)}–${formatPercent(high, texts)} %]`;
}

function subtitleOf({ curves, shared, band }: SurvivalData, floor: number): string {
  const [focus] = curves;
  const ends = [
    ...(focus.equalToEnd > 0 ? [`${formatCount(focus.equalToEnd)} are identical to their end`] : []),
    ...(focus.equalAtLimit > 0 ? [`${formatCount(focus.equalAtLimit)} at the limit of new tokens`] : []),
  ];
  const about = curves.length > 1 ? `of ${shownName(focus.name)} ` : '';
  return [
    `Share of texts still identical, ${shownName(shared, 60)}, ${formatCounted(focus.texts, 'text')}${curves.length > 1 ? ' each' : ''}.`,
    'The end of a text competes (Aalen–Johansen), the limit censors.',
    ...(ends.length > 0 ? [`${capital(about)}${ends.join(', ')}.`] : []),
    ...(band.length > 0 ? [`Band${curves.length > 1 ? ` of ${shownName(focus.name)}` : ''}: 95 % by prompt.`] : []),
    ...(floor > 0 ? [`The axis begins at ${Math.round(floor * 100)} %.`] : []),
  ].join(' ');
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function bandParts({ curves: [focus], band }: SurvivalData, { x, y }: Scales, theme: Theme): string[] {
  if (band.length === 0) return [];
  const edge = (of: (at: SurvivalData['band'][number]) => number) =>
    band.map((at, i) => {
      const end = x.at(band[i + 1]?.step ?? focus.last);
      return `${round(x.at(at.step))} ${round(y.at(of(at)))}L${round(end)} ${round(y.at(of(at)))}`;
    });
  const back = edge(({ lower }) => lower)
    .map((part) => part.split('L').reverse().join('L'))
    .reverse();
  const path = `M${[...edge(({ upper }) => upper), ...back].join('L')}Z`;
  return [`<path d="${path}" fill="${precisionColor(focus.precision, theme)}" fill-opacity="0.13"/>`];
}

interface Scales {
  x: Scale;
  y: Scale;
}

function curvePath(
  { condition, steps, last, precision, diverged, texts }: SurvivalCurve,
  { x, y }: Scales,
  theme: Theme,
  focus: boolean,
): string {
  const at = (value: number) => round(y.at(value));
  const path = steps.map(({ step, identical }) => `H${round(x.at(step))}V${at(identical)}`).join('');
  const weight = focus ? 2.4 : 1.5;
  return `<path d="M${round(x.at(0))} ${at(1)}${path}H${round(x.at(last))}" fill="none" stroke="${precisionColor(precision, theme)}" stroke-width="${weight}" stroke-linejoin="round" ${dataAttributes({ condition, diverged, texts })}/>`;
}

/** The steps of the curves; of too many the curves alone are read. */
function readableSteps(curves: readonly SurvivalCurve[], { x, y }: Scales): string[] {
  if (curves.reduce((sum, { steps }) => sum + steps.length, 0) > mostReadable) return [];
  return curves.flatMap(({ condition, texts, steps }) =>
    steps.map(({ step, identical }) =>
      readable(
        { x: x.at(step) - 5, y: y.at(identical) - 5, width: 10, height: 10 },
        { condition, step, identical, texts },
        5,
      ),
    ),
  );
}

interface EndLabel {
  text: string;
  identical: number;
  precision: string | null;
  focus: boolean;
}

/** One label for each curve; those that part nowhere share one, since they lie on each other. */
function endLabels(curves: readonly SurvivalCurve[]): EndLabel[] {
  const together = curves.filter(({ diverged }) => diverged === 0);
  const others = curves.filter((curve) => together.length < 3 || curve.diverged > 0);
  const each = others.map((curve) => ({
    text: `${shownName(curve.name, 34)}  ${counted(curve)}`,
    identical: curve.steps.at(-1)?.identical ?? 1,
    precision: curve.precision,
    focus: curve === curves[0],
  }));
  if (together.length < 3) return each;
  const texts = new Set(together.map(({ texts }) => texts));
  const count = texts.size === 1 ? `0/${formatCount([...texts][0])}` : 'no text';
  return [
    {
      text: `${together.length} conditions  ${count}`,
      identical: 1,
      precision: null,
      focus: together[0] === curves[0],
    },
    ...each,
  ];
}

function labelParts(labels: readonly EndLabel[], plot: Area, y: Scale, theme: Theme): string[] {
  const wanted = labels.map(({ identical }) => y.at(identical));
  const places = spread(wanted, 16, [plot.y + 2, plot.y + plot.height]);
  return labels.map(({ text, precision, focus }, i) =>
    haloText(plot.x + plot.width + 8, places[i] + 4, text, {
      theme,
      fill: precision === null ? theme.ink : precisionColor(precision, theme),
      weight: focus ? 700 : 500,
    }),
  );
}
