/**
 * Predicted against observed flips. Left: every condition, greedy ones as marks, sampled ones as the span of their bounds. Right:
 * calibration of one greedy condition, bin by bin. On the diagonals the prediction holds; nothing predicted or observed has strips.
 */
import type { Calibration, FlipCondition, FlipPredictionData } from '../data/flip-prediction.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  bottomTicks,
  haloText,
  kernelShapes,
  panelName,
  precisionColor,
  shapeKey,
  shapePath,
  shownName,
  tickLabel,
  zeroStrip,
} from './plot.ts';
import { logarithmic, type Scale } from './scale.ts';
import { escapeXml, round } from './svg.ts';
import type { Theme } from './theme.ts';

const side = 230;
const strip = 22;
const head = 24;
const left = 42;
const gap = 36;
const height = head + side + 8 + strip + 42;
/** Below this many flips a prediction says none: its size is of no interest. */
const fewest = 1e-3;
/** Predicted probabilities below are not drawn: they are of steps that do not flip. */
const rarest = 1e-5;

export function flipPredictionFigure(data: FlipPredictionData, options: FigureOptions = {}): Figure {
  const title = titleOf(data);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Scatter. ${subtitle}` }, options, (palette, width) => {
    const { theme } = palette;
    const columns = data.calibration ? 2 : 1;
    const own = Math.min(440, (width - gap * (columns - 1)) / columns);
    const kernels = [...new Set(data.conditions.map((each) => each.kernels))];
    return {
      height: 24 + height,
      parts: [
        ...shapeKey(kernels, 12, theme),
        '<g transform="translate(0 24)">',
        ...overview(data.conditions, kernels, own, theme),
        '</g>',
        ...(data.calibration
          ? [
              `<g transform="translate(${round(own + gap)} 24)">`,
              ...calibrationParts(data.calibration, own, theme),
              '</g>',
            ]
          : []),
      ],
    };
  });
}

function titleOf({ conditions, calibration }: FlipPredictionData): string {
  const sampled = conditions.flatMap(({ bounds }) => bounds ?? []);
  const within = sampled.filter((bounds) => bounds.within === true).length;
  const bounds =
    sampled.length === 0
      ? ''
      : `${formatCount(within)} of ${formatCounted(sampled.length, 'sampled condition')} within their bounds`;
  if (calibration === null) return bounds === '' ? 'No flips are predicted' : bounds;
  const { observed, predicted, ratio } = calibration;
  const interval =
    ratio === null || ratio.lower === null || ratio.upper === null
      ? ''
      : `, ×${formatValue(ratio.value)} [${formatValue(ratio.lower)}–${formatValue(ratio.upper)}]`;
  const greedy = `${shownName(calibration.name, 60)}: ${formatCounted(observed, 'flip')} where margins and drift predict ${formatValue(predicted)}${interval}`;
  return bounds === '' ? greedy : `${greedy}; ${bounds}`;
}

function subtitleOf({ conditions, calibration, withoutBound }: FlipPredictionData): string {
  const greedy = conditions.filter(({ predicted }) => predicted !== null).length;
  return [
    `Left, ${formatCounted(greedy, 'greedy condition')}: Σ Φ(−margin/σ) with σ of the other prompts, exact ties apart; ${formatCounted(conditions.length - greedy, 'sampled one')}: from mean TV to mean 2 TV/(1 + TV). Log–log; predictions below ${fewest} in the strip.`,
    ...(calibration
      ? [
          `Right, ${shownName(calibration.name, 60)}: ${formatCounted(calibration.steps, 'step')} by predicted probability, whiskers 95 %${calibration.auc === null ? '' : `, AUC ${calibration.auc.toFixed(2)}`}${calibration.tied.steps > 0 ? `; ${formatCount(calibration.tied.flips)} of ${formatCounted(calibration.tied.steps, 'exact tie')} flip` : ''}.`,
        ]
      : []),
    ...(withoutBound > 0 ? [`${formatCounted(withoutBound, 'condition')} without a prediction.`] : []),
  ].join(' ');
}

interface Axes {
  plot: Area;
  x: Scale;
  y: Scale;
  /** Middle of the strips: nothing predicted, nothing observed. */
  noneX: number;
  noneY: number;
}

function axesOf(width: number, xs: readonly number[], ys: readonly number[], hasStrip: boolean): Axes {
  const start = left + (hasStrip ? strip + 20 : 0);
  const plot = { x: start, y: head, width: width - start - 10, height: side };
  const all = [...xs, ...ys].filter((value) => value > 0);
  const domain: [number, number] = all.length === 0 ? [0.1, 10] : [Math.min(...all), Math.max(...all)];
  return {
    plot,
    x: logarithmic(domain, [plot.x, plot.x + plot.width], 5),
    y: logarithmic(domain, [plot.y + side, plot.y], 5),
    noneX: left + strip / 2,
    noneY: plot.y + side + 8 + strip / 2,
  };
}

function axisParts({ plot, x, y, noneY }: Axes, theme: Theme, names: readonly [string, string]): string[] {
  const hasStrip = plot.x > left;
  const below = noneY - strip / 2;
  const [from, to] = [Math.max(x.domain[0], y.domain[0]), Math.min(x.domain[1], y.domain[1])];
  return [
    ...acrossGrid({ ...plot, x: left, width: plot.x - left + plot.width }, y, theme),
    zeroStrip({ x: plot.x, y: below, width: plot.width, height: strip }),
    ...(hasStrip
      ? [
          zeroStrip({ x: left, y: plot.y, width: strip, height: side }),
          zeroStrip({ x: left, y: below, width: strip, height: strip }),
          tickLabel(left + strip / 2, below + strip + 15, `< ${fewest}`, theme, 'middle'),
        ]
      : []),
    tickLabel(left - 8, noneY + 4, '0', theme, 'end'),
    ...bottomTicks(below + strip + 15, { ...x, ticks: x.ticks.slice(hasStrip ? 1 : 0) }, theme),
    `<path d="M${round(x.at(from))} ${round(y.at(from))}L${round(x.at(to))} ${round(y.at(to))}" stroke="${theme.ink2}" stroke-width="1.2"/>`,
    tickLabel(plot.x + plot.width, below + strip + 32, `${names[0]} →`, theme, 'end'),
    tickLabel(0, below + strip + 32, `↑ ${names[1]}`, theme, 'start'),
  ];
}

function overview(
  conditions: readonly FlipCondition[],
  kernels: readonly string[],
  width: number,
  theme: Theme,
): string[] {
  const drawn = (value: number) => (value >= fewest ? value : 0);
  const xs = conditions.flatMap(({ predicted, bounds }) =>
    bounds ? [drawn(bounds.lower), drawn(bounds.upper)] : [drawn(predicted ?? 0)],
  );
  const axes = axesOf(
    width,
    xs,
    conditions.map(({ observed }) => observed),
    true,
  );
  const at = (value: number) => (drawn(value) > 0 ? axes.x.at(value) : axes.noneX);
  const nowhere = conditions.filter(
    ({ observed, predicted, bounds }) => observed === 0 && drawn(bounds?.upper ?? predicted ?? 0) === 0,
  );
  const marks = conditions.flatMap((each) => {
    const { observed, predicted, bounds, precision, condition } = each;
    const y = observed > 0 ? axes.y.at(observed) : axes.noneY;
    const color = precisionColor(precision, theme);
    const data = `data-condition="${escapeXml(condition)}"`;
    const shape = kernelShapes[kernels.indexOf(each.kernels) % kernelShapes.length];
    if (bounds === null) return [`<path d="${shapePath(shape, at(predicted ?? 0), y, 4)}" fill="${color}" ${data}/>`];
    const [from, to] = [at(bounds.lower), at(bounds.upper)];
    return [
      `<path d="M${round(from)} ${round(y)}H${round(to)}" stroke="${color}" stroke-width="2" stroke-opacity="0.7"/>`,
      `<path d="${shapePath(shape, (from + to) / 2, y, 3.2)}" fill="${theme.background}" stroke="${color}" stroke-width="1.2" ${data}/>`,
    ];
  });
  const label =
    nowhere.length > 1
      ? [
          haloText(axes.noneX, axes.noneY - strip / 2 - 14, formatCount(nowhere.length), {
            theme,
            weight: 600,
            anchor: 'middle',
          }),
        ]
      : [];
  return [
    panelName(0, 12, 'Flips by condition; open: sampled, with its bounds', theme),
    ...axisParts(axes, theme, ['predicted', 'observed']),
    ...marks,
    ...label,
  ];
}

function calibrationParts({ bins, name }: Calibration, width: number, theme: Theme): string[] {
  const shown = bins.filter(({ predicted }) => predicted >= rarest);
  const xs = shown.map(({ predicted }) => predicted);
  const axes = axesOf(width, xs, [...shown.map(({ observed }) => observed), ...shown.map(({ upper }) => upper)], false);
  const { plot, x, y, noneY } = axes;
  return [
    panelName(0, 12, shownName(name, Math.floor(width / 7)), theme),
    ...axisParts(axes, theme, ['predicted probability', 'share that flips']),
    ...shown.flatMap(({ predicted, observed, lower, upper, steps, flips }) => {
      const place = round(x.at(predicted));
      const low = lower > 0 ? Math.min(plot.y + plot.height, y.at(lower)) : plot.y + plot.height + 8;
      const height = observed > 0 ? y.at(observed) : noneY;
      return [
        `<path d="M${place} ${round(low)}V${round(y.at(upper))}" stroke="${theme.ink3}" stroke-width="1.2"/>`,
        `<path d="${shapePath('circle', place, height, 4)}" fill="${theme.ink}" data-steps="${steps}" data-flips="${flips}"/>`,
      ];
    }),
  ];
}
