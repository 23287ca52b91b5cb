/** Cached minus uncached accuracy by condition, in points, with its interval; behind it the uncached arm against itself in other orders. */
import type { AccuracyCondition, AccuracyData } from '../data/accuracy.ts';
import { formatCount, formatCounted } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { shapePath, shownName, textWidth, tickLabel, tickText } from './plot.ts';
import { linear, type Scale } from './scale.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const rowHeight = 30;
const head = 26;
const numbers = 216;

export function accuracyFigure(data: AccuracyData, options: FigureOptions = {}): Figure {
  const { conditions } = data;
  const title = titleOf(data);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Intervals. ${subtitle}` }, options, (palette, width) => {
    const { theme } = palette;
    const left = Math.min(width * 0.3, Math.max(...conditions.map(({ name }) => textWidth(shownName(name, 30)))) + 14);
    const points = conditions.flatMap(({ difference: { value, lower, upper }, placebo }) => [
      ...[value, lower ?? value, upper ?? value],
      ...placebo,
    ]);
    const most = Math.max(0.005, ...points.map((value) => Math.abs(value))) * 100;
    const x = linear([-most * 1.05, most * 1.05], [left, width - numbers], 5);
    const bottom = head + conditions.length * rowHeight;
    return {
      height: bottom + 44,
      parts: [
        ...x.ticks.map(
          (tick) =>
            `<path d="M${round(x.at(tick))} ${head - 6}V${bottom + 4}" stroke="${tick === 0 ? theme.ink3 : theme.grid}"/>`,
        ),
        ...x.ticks.map((tick) => tickLabel(x.at(tick), bottom + 20, signed(tick), theme, 'middle')),
        tickLabel(x.at(0) - 8, bottom + 36, '← uncached right', theme, 'end'),
        tickLabel(x.at(0) + 8, bottom + 36, 'cached right →', theme, 'start'),
        tickLabel(width, 14, 'points [95 %]', theme, 'end'),
        tickLabel(width - 122, 14, 'only', theme, 'end'),
        ...conditions.flatMap((each, i) => row(each, head + i * rowHeight + rowHeight / 2, x, width, theme)),
      ],
    };
  });
}

const signed = (tick: number) => (tick > 0 ? `+${tickText(tick)}` : tickText(tick));

function titleOf({ conditions, setting }: AccuracyData): string {
  const positive = conditions.filter(({ difference }) => difference.value > 0).length;
  const negative = conditions.filter(({ difference }) => difference.value < 0).length;
  const all = formatCounted(conditions.length, 'condition');
  if (positive + negative === 0) return `${shownName(setting)}: the arms are right equally often in all of ${all}`;
  const passes = conditions.filter(({ testable, adjustedP }) => testable && adjustedP < 0.05).length;
  const beyond =
    passes === 0 ? 'none passes its test' : `${formatCount(passes)} ${passes === 1 ? 'passes its' : 'pass their'} test`;
  return `${shownName(setting)}: the cached arm is right more often in ${formatCount(positive)} of ${all}, less often in ${formatCount(negative)}; ${beyond}`;
}

function subtitleOf({ conditions }: AccuracyData): string {
  const [{ prompts, neededDiscordant }] = conditions;
  const untestable = conditions.filter(({ testable }) => !testable).length;
  const orders = Math.max(...conditions.map(({ placebo }) => placebo.length));
  return [
    `Share right, cached minus uncached, in points, with Tango’s 95 % interval, ${formatCounted(prompts, 'prompt')} each. “only”: prompts that the cached : the uncached arm alone solves.`,
    ...(orders > 0
      ? [
          `Grey: the uncached arm against itself in ${formatCounted(orders, 'other order')} of its sums; height: how many.`,
        ]
      : ['No placebo was run.']),
    ...(untestable > 0
      ? [
          `${formatCounted(untestable, 'condition')} (open) ${untestable === 1 ? 'has' : 'have'} fewer than the ${formatCount(neededDiscordant)} discordant pairs that a test takes.`,
        ]
      : []),
  ].join(' ');
}

function row(each: AccuracyCondition, y: number, x: Scale, width: number, theme: Theme): string[] {
  const { name, difference, cachedOnly, uncachedOnly, testable, placebo, condition } = each;
  const { value, lower, upper } = difference;
  const color = value > 0 ? theme.cached : value < 0 ? theme.uncached : theme.ink;
  const at = (share: number) => round(x.at(share * 100));
  const interval =
    lower === null || upper === null
      ? []
      : [`<path d="M${at(lower)} ${y}H${at(upper)}" stroke="${color}" stroke-width="1.8"/>`];
  const look = testable ? `fill="${color}"` : `fill="${theme.background}" stroke="${color}" stroke-width="1.6"`;
  return [
    text(0, y + 4, shownName(name, 30), theme.ink2, 'font-size="12"'),
    ...placeboBars(placebo, y, at, theme),
    ...interval,
    `<path d="${shapePath('circle', at(value), y, 4.2)}" ${look} data-condition="${escapeXml(condition)}"/>`,
    text(
      width - 122,
      y + 4,
      `${formatCount(cachedOnly)} : ${formatCount(uncachedOnly)}`,
      theme.ink2,
      'font-size="12" text-anchor="end"',
    ),
    text(width, y + 4, pointsText(difference), theme.ink, 'font-size="12" text-anchor="end"'),
  ];
}

/** `+1.5 [−0.4, 4.3]` */
function pointsText({ value, lower, upper }: AccuracyCondition['difference']): string {
  const points = (share: number) => (share === 0 ? '0' : (share * 100).toFixed(1).replace('-', '−'));
  const own = `${value > 0 ? '+' : ''}${points(value)}`;
  return lower === null || upper === null ? own : `${own} [${points(lower)}, ${points(upper)}]`;
}

/** How many orders give each difference: bars about the row, as high as they are many. */
function placeboBars(placebo: readonly number[], y: number, at: (share: number) => number, theme: Theme): string[] {
  const counts = new Map<number, number>();
  for (const difference of placebo) counts.set(difference, (counts.get(difference) ?? 0) + 1);
  return [...counts].map(([difference, count]) => {
    const half = round(2 + (count / placebo.length) * (rowHeight / 2 - 3));
    return `<path d="M${at(difference)} ${y - half}v${half * 2}" stroke="${theme.ink3}" stroke-opacity="0.4" stroke-width="5" data-orders="${count}"/>`;
  });
}
