/** Drift of the logits against the unit roundoff, log–log: dashed, what rounding alone predicts through the fp32 point. */
import type { LadderModel, LadderPoint, PrecisionLadderData } from '../data/precision-ladder.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  kernelShapes,
  panelName,
  precisionColor,
  shapeKey,
  shapePath,
  shownName,
  tickLabel,
  zeroStrip,
} from './plot.ts';
import { logarithmic, positiveExtent, type Scale } from './scale.ts';
import { escapeXml, round } from './svg.ts';
import type { Theme } from './theme.ts';

const plotHeight = 170;
const stripHeight = 16;
const head = 24;
const rowHeight = head + plotHeight + 8 + stripHeight + 44;
const left = 54;
const gap = 34;

/** What is drawn: KL is quadratic in the drift. */
const metrics = [
  { key: 'l2', name: 'L2 of logits', power: 1 },
  { key: 'kl', name: 'KL (nats)', power: 2 },
] as const;

type Metric = (typeof metrics)[number];

export function precisionLadderFigure(data: PrecisionLadderData, options: FigureOptions = {}): Figure {
  const title = titleOf(data);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Scatter. ${subtitle}` }, options, (palette, width) => {
    const { theme } = palette;
    const own = (width - gap) / metrics.length;
    const scales = metrics.map((metric) => domainOf(data, metric));
    return {
      height: 24 + data.models.length * rowHeight,
      parts: [
        ...shapeKey(data.kernels, 12, theme),
        ...data.models.flatMap((model, row) =>
          metrics.flatMap((metric, column) => [
            `<g transform="translate(${round(column * (own + gap))} ${24 + row * rowHeight})">`,
            ...panelParts(data, model, metric, scales[column], own, theme),
            '</g>',
          ]),
        ),
      ],
    };
  });
}

/** The exponent p of drift ∝ u^p between the finest and the next coarser precision that rounds activations. */
function exponents({ models, kernels }: PrecisionLadderData, { key }: Metric) {
  return models.flatMap(({ points }) =>
    kernels.flatMap((kernel) => {
      const own = points.filter((point) => point.kernels === kernel && !point.weightsOnly).sort((a, b) => a.u - b.u);
      const [fine, coarse] = [own[0], own.find(({ u }) => u > own[0].u)];
      const [low, high] = [fine?.[key]?.value ?? 0, coarse?.[key]?.value ?? 0];
      if (!coarse || !(low > 0) || !(high > 0)) return [];
      return [
        { from: fine.precision, to: coarse.precision, power: Math.log(high / low) / Math.log(coarse.u / fine.u) },
      ];
    }),
  );
}

function titleOf(data: PrecisionLadderData): string {
  const [l2, kl] = metrics.map((metric) => exponents(data, metric));
  if (l2.length === 0) return 'No drift in two precisions: nothing says how it follows u';
  const range = (found: typeof l2) => {
    const powers = found.map(({ power }) => power).sort((a, b) => a - b);
    const [low, high] = [powers[0], powers[powers.length - 1]].map((power) => power.toFixed(1).replace('-', '−'));
    return low === high ? low : `${low}–${high}`;
  };
  const second = kl.length === 0 ? '' : `, KL as u^${range(kl)}`;
  return `From ${shownName(l2[0].from)} to ${shownName(l2[0].to)} drift grows as u^${range(l2)}${second}; rounding alone predicts 1 and 2`;
}

function subtitleOf({ models, strategy, steps, prompts, left: more }: PrecisionLadderData): string {
  const points = models.flatMap((model) => model.points);
  const open = [...new Set(points.filter(({ weightsOnly }) => weightsOnly).map(({ precision }) => precision))];
  const zeros = points.some(({ l2, kl }) => l2?.value === 0 || kl?.value === 0);
  return [
    `Mean per step by unit roundoff u of the storage type, log–log, ${shownName(strategy)}: ${formatCounted(steps, 'step')} of ${formatCounted(prompts, 'prompt')} (first condition).`,
    'Dashed: predicted slope through the fp32 point of each kernel. Whiskers: 95 % by prompt.',
    ...(open.length > 0 ? [`Open: ${open.map((name) => shownName(name)).join(', ')}, activations in fp32.`] : []),
    ...(zeros ? ['Strip: exactly 0.'] : []),
    ...(points.some(({ l2 }) => l2 === null) ? ['×: not a number.'] : []),
    ...(more > 0 ? [`${formatCounted(more, 'more model')} not drawn.`] : []),
  ].join(' ');
}

function domainOf({ models }: PrecisionLadderData, { key }: Metric): [number, number] {
  const found = models.flatMap(({ points }) =>
    points.flatMap((point) => [point[key]?.value ?? null, point[key]?.upper ?? null]),
  );
  return positiveExtent(found) ?? [1e-6, 1];
}

function panelParts(
  data: PrecisionLadderData,
  { model, points }: LadderModel,
  metric: Metric,
  domain: readonly [number, number],
  width: number,
  theme: Theme,
): string[] {
  const plot: Area = { x: left, y: head, width: width - left - 8, height: plotHeight };
  const y = logarithmic(domain, [plot.y + plot.height, plot.y], 5);
  const all = data.models.flatMap((each) => each.points.map(({ u }) => u));
  // A third of a decade beyond the points on both sides.
  const [low, high] = [Math.min(...all) / 3, Math.max(...all) * 3];
  const x = (u: number) => plot.x + (Math.log(u / low) / Math.log(high / low)) * plot.width;
  const strip = { x: plot.x, y: plot.y + plot.height + 8, width: plot.width, height: stripHeight };
  return [
    panelName(0, 12, `${shownName(model, 24)}: ${metric.name} ${metric.power === 1 ? '∝ u' : '∝ u²'}`, theme),
    ...acrossGrid(plot, y, theme),
    zeroStrip(strip),
    tickLabel(plot.x - 8, strip.y + 12, '0', theme, 'end'),
    ...data.kernels.flatMap((kernels) => prediction(points, kernels, metric, { x, y, high }, plot, theme)),
    ...points.flatMap((point) => mark(point, data.kernels.indexOf(point.kernels), metric, x, y, strip, theme)),
    ...uTicks(data, x, strip.y + stripHeight + 15, theme),
    tickLabel(plot.x + plot.width, strip.y + stripHeight + 31, 'unit roundoff u →', theme, 'end'),
  ];
}

/** The dashed line y = y₃₂ (u / u₃₂)^p, as far as the plot goes. */
function prediction(
  points: readonly LadderPoint[],
  kernels: string,
  { key, power }: Metric,
  { x, y, high }: { x: (u: number) => number; y: Scale; high: number },
  plot: Area,
  theme: Theme,
): string[] {
  const own = points.filter((point) => point.kernels === kernels && !point.weightsOnly);
  const [start] = own.toSorted((a, b) => a.u - b.u);
  const value = start?.[key]?.value ?? 0;
  if (!start || !(value > 0)) return [];
  // Where it leaves the plot at the top, or on the right.
  const top = start.u * (y.domain[1] / value) ** (1 / power);
  const end = Math.min(high, top);
  const path = `M${round(x(start.u))} ${round(y.at(value))}L${round(x(end))} ${round(Math.max(plot.y, y.at(value * (end / start.u) ** power)))}`;
  return [`<path d="${path}" fill="none" stroke="${theme.ink2}" stroke-width="1.1" stroke-dasharray="4 3"/>`];
}

function mark(
  point: LadderPoint,
  shape: number,
  { key }: Metric,
  x: (u: number) => number,
  y: Scale,
  strip: Area,
  theme: Theme,
): string[] {
  const found = point[key];
  const place = x(point.u);
  const color = precisionColor(point.weightsOnly ? 'fp32' : point.precision, theme);
  const data = `data-condition="${escapeXml(point.condition)}"`;
  if (found === null)
    return [
      `<path d="${shapePath('cross', place, strip.y - 12, 4)}" stroke="${theme.bad}" stroke-width="1.8" fill="none" ${data}/>`,
    ];
  const height = found.value > 0 ? y.at(found.value) : strip.y + strip.height / 2;
  const look = point.weightsOnly ? `fill="none" stroke="${color}" stroke-width="1.4"` : `fill="${color}"`;
  // An end at 0, or off the axis, is where the plot ends.
  const whisker =
    found.lower !== null && found.upper !== null && found.value > 0
      ? [
          `<path d="M${round(place)} ${round(found.lower > 0 ? Math.min(strip.y - 8, y.at(found.lower)) : strip.y)}V${round(y.at(found.upper))}" stroke="${color}" stroke-width="1"/>`,
        ]
      : [];
  return [
    ...whisker,
    `<path d="${shapePath(kernelShapes[shape % kernelShapes.length], place, height, 4)}" ${look} ${data} data-value="${found.value}"/>`,
  ];
}

/** Names of precisions at their u; of those that share one, the first. */
function uTicks({ models }: PrecisionLadderData, x: (u: number) => number, y: number, theme: Theme): string[] {
  const names = new Map<number, string>();
  for (const { u, precision, weightsOnly } of models.flatMap(({ points }) => points))
    if (!weightsOnly && !names.has(u)) names.set(u, precision);
  return [...names].map(([u, name]) =>
    tickLabel(x(u), y, shownName(name, 12), { ...theme, ink2: precisionColor(name, theme) }, 'middle'),
  );
}
