/** Recovery R against steps after the patch, on a square-root axis: rings where R is 1 by construction, ∅ where nothing was to recover. */
import type { CellAt } from '../data/patch-cells.ts';
import type { RecoveryData, RecoveryPanel, RecoverySeries } from '../data/recovery.ts';
import { formatCounted } from '../terminal/numbers.ts';
import { shown } from '../terminal/recovery.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import {
  type Area,
  acrossGrid,
  haloText,
  readable,
  type Shape,
  shapePath,
  shownName,
  spread,
  textWidth,
  tickLabel,
} from './plot.ts';
import { linear } from './scale.ts';
import { round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const plotHeight = 150;
const panelTop = 30;
const panelHeight = panelTop + plotHeight + 62;
const left = 34;
const gap = 24;
const lowest = -0.2;

export function recoveryFigure(data: RecoveryData, options: FigureOptions = {}): Figure {
  const title = titleOf(data.panels[0], data.panels.length > 1);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Lines. ${subtitle}` }, options, (palette, width) => {
    const columns = Math.min(data.panels.length, width >= 1000 ? 3 : 2);
    const own = (width - gap * (columns - 1)) / columns;
    const horizons = [
      ...new Set(data.panels.flatMap(({ series }) => series.flatMap(({ at }) => at.map((one) => one.horizon)))),
    ];
    const parts = data.panels.flatMap((panel, i) => [
      `<g transform="translate(${round((i % columns) * (own + gap))} ${Math.floor(i / columns) * panelHeight})">`,
      ...panelParts(
        panel,
        own,
        horizons.toSorted((a, b) => a - b),
        palette.theme,
      ),
      '</g>',
    ]);
    return { height: Math.ceil(data.panels.length / columns) * panelHeight, parts };
  });
}

/** Every measurement came out as it had to. */
const isForced = ({ byConstruction, cells }: CellAt) => cells > 0 && byConstruction === cells;

/** Of each whole factor: R at the patched step, and at the last horizon. */
function titleOf({ series, name }: RecoveryPanel, several: boolean): string {
  const where = several ? `${shownName(name)}: ` : '';
  const measured = series.filter(({ at }) => at.some(({ recovery }) => recovery !== null));
  if (measured.length === 0) return `${where}Nothing to recover at any step after a patch`;
  const said = ['residual', 'history', 'kernel', 'other'].flatMap(
    (what) => measured.find((each) => each.what === what) ?? [],
  );
  const [first, ...more] = (said.length > 0 ? said : measured).slice(0, 2);
  const sentences = [first, ...more].map(lasting);
  return capital(`${where}${sentences.join('; ')}`);
}

/** A precision keeps its name: letters alone begin a sentence. */
const capital = (words: string) =>
  /^(residual|both|prefill)/.test(words) ? words.charAt(0).toUpperCase() + words.slice(1) : words;

function lasting({ name, at }: RecoverySeries): string {
  const known = at.filter(({ recovery }) => recovery !== null);
  const [from, to] = [known[0], known[known.length - 1]];
  const value = (one: CellAt) => `${shown(one.recovery?.value ?? 0)}${isForced(one) ? ' by construction' : ''}`;
  const when = (one: CellAt) => (one.horizon === 0 ? 'at the patched step' : `at +${one.horizon}`);
  const start = `${shownName(name, 40)} recovers ${value(from)} ${when(from)}`;
  if (from === to) return start;
  // A residual patch is gone a step later or never.
  const next = known.find(({ horizon }) => horizon === 1) ?? to;
  const gone = (from.recovery?.value ?? 0) > 0.1 && Math.abs(next.recovery?.value ?? 0) < 0.1;
  const last = gone ? next : to;
  return `${start}, ${value(last)} ${when(last)}`;
}

function subtitleOf({ panels, shared, more }: RecoveryData): string {
  const cells = panels[0].series.flatMap(({ at }) => at.slice(0, 1));
  const most = cells.reduce((count, one) => Math.max(count, one.cells), 0);
  const prompts = cells.reduce((count, one) => Math.max(count, one.prompts), 0);
  const left = panels.reduce((sum, panel) => sum + panel.left, 0);
  const all = panels.flatMap(({ series }) => series.flatMap(({ at }) => at));
  return [
    `R = 1 − D(patched) / D(unpatched), ${shownName(shared, 60)}: ${formatCounted(most, 'patched step')} of ${formatCounted(prompts, 'prompt')}. Square-root time axis, whiskers 95 % by prompt.`,
    ...(all.some(isForced) ? ['Rings: by construction, no evidence.'] : []),
    ...(all.some(({ recovery, notFinite }) => recovery === null && notFinite === 0) ? ['∅: nothing to recover.'] : []),
    ...(all.some(({ notFinite }) => notFinite > 0) ? ['×: not a number.'] : []),
    ...(left > 0 ? [`${formatCounted(left, 'more patch', 'more patches')} not drawn.`] : []),
    ...(more > 0 ? [`${formatCounted(more, 'more condition')} ${more === 1 ? 'has' : 'have'} no panel.`] : []),
  ].join(' ');
}

const looks: Record<RecoverySeries['what'], { shape: Shape; color: (theme: Theme) => string }> = {
  history: { shape: 'square', color: ({ cached }) => cached },
  kernel: { shape: 'diamond', color: ({ ink2 }) => ink2 },
  both: { shape: 'circle', color: ({ ink }) => ink },
  residual: { shape: 'triangle', color: ({ uncached }) => uncached },
  other: { shape: 'down', color: ({ ink3 }) => ink3 },
};

function panelParts(
  { condition, name, series }: RecoveryPanel,
  width: number,
  horizons: readonly number[],
  theme: Theme,
): string[] {
  const labels = Math.min(
    width * 0.42,
    Math.max(60, ...series.map((each) => textWidth(shownName(each.name, 26)))) + 12,
  );
  const plot: Area = { x: left, y: panelTop, width: width - left - labels, height: plotHeight };
  const most = Math.sqrt(Math.max(1, ...horizons));
  const x = (horizon: number) => plot.x + (Math.sqrt(horizon) / most) * plot.width;
  const y = linear([lowest, 1], [plot.y + plot.height, plot.y], 3);
  const drawn = { ...y, ticks: [0, 0.5, 1] };
  const ends = series.map(({ at }) =>
    y.at(clamped(at.findLast(({ recovery }) => recovery !== null)?.recovery?.value ?? 0)),
  );
  const places = spread(ends, 15, [plot.y, plot.y + plot.height]);
  return [
    text(0, 14, shownName(name, 48), theme.ink, 'font-size="12.5" font-weight="620"'),
    ...acrossGrid(plot, drawn, theme),
    `<path d="M${plot.x} ${round(y.at(0))}h${round(plot.width)}" stroke="${theme.ink3}"/>`,
    ...series.flatMap((each, i) => seriesParts(each, x, y.at, plot, theme, i)),
    ...series.map((each, i) =>
      haloText(plot.x + plot.width + 10, places[i] + 4, shownName(each.name, 26), {
        ...{ theme, fill: looks[each.what].color(theme), weight: 600 },
      }),
    ),
    ...horizonTicks(horizons, x, plot, theme),
    ...series.flatMap((each, i) =>
      each.at.map((one) => {
        const height = one.recovery === null ? emptyPlace(plot, i) : y.at(clamped(one.recovery.value));
        const area = { x: x(one.horizon) - 7, y: height - 7, width: 14, height: 14 };
        return readable(area, { condition, ...factsOf(each, one) }, 7);
      }),
    ),
    tickLabel(plot.x + plot.width, plot.y + plot.height + 36, 'steps after the patch →', theme, 'end'),
  ];
}

/** Height of what has no recovery, a line for each series. */
const emptyPlace = (plot: Area, series: number) => plot.y + plot.height - 8 - series * 14;

function factsOf(series: RecoverySeries, one: CellAt) {
  const { name, spec, history, kernel, hook, layer, head } = series;
  const { horizon, recovery, notFinite, byConstruction, cells, prompts } = one;
  const nothing = notFinite > 0 ? 'not a number' : '∅ nothing to recover';
  return {
    ...{ patch: name, spec, history, kernel, hook, layer: layer < 0 ? null : layer, head, horizon },
    ...{ recovery: recovery?.value ?? nothing, low: recovery?.lower ?? null, high: recovery?.upper ?? null },
    ...{ forced: byConstruction > 0 ? byConstruction : null, n: cells, prompts },
  };
}

/** Labels of horizons that do not touch. */
function horizonTicks(horizons: readonly number[], x: (horizon: number) => number, plot: Area, theme: Theme): string[] {
  let end = -Infinity;
  return horizons.flatMap((horizon) => {
    const label = horizon === 0 ? '0' : `+${horizon}`;
    const half = textWidth(label) / 2;
    if (x(horizon) - half < end + 4) return [];
    end = x(horizon) + half;
    return [tickLabel(x(horizon), plot.y + plot.height + 18, label, theme, 'middle')];
  });
}

const clamped = (value: number) => Math.min(1, Math.max(lowest, value));

function seriesParts(
  { what, at }: RecoverySeries,
  x: (horizon: number) => number,
  y: (value: number) => number,
  plot: Area,
  theme: Theme,
  index: number,
): string[] {
  const { shape, color } = looks[what];
  const fill = color(theme);
  const parts: string[] = [];
  // A line joins neighbours that are both numbers.
  let line = '';
  let before = false;
  for (const { horizon, recovery } of at) {
    if (recovery !== null) line += `${before ? 'L' : 'M'}${round(x(horizon))} ${round(y(clamped(recovery.value)))}`;
    before = recovery !== null;
  }
  if (line !== '') parts.push(`<path d="${line}" fill="none" stroke="${fill}" stroke-width="1.6"/>`);
  for (const one of at) {
    const { horizon, recovery, notFinite } = one;
    const place = x(horizon);
    if (recovery === null) {
      const below = emptyPlace(plot, index);
      parts.push(
        notFinite > 0
          ? `<path d="${shapePath('cross', place, below, 4)}" stroke="${theme.bad}" stroke-width="1.8" fill="none"/>`
          : haloText(place, below + 4, '∅', { theme, fill, anchor: 'middle', weight: 500 }),
      );
      continue;
    }
    const { value, lower, upper } = recovery;
    if (lower !== null && upper !== null && lower < upper)
      parts.push(
        `<path d="M${round(place)} ${round(y(clamped(lower)))}V${round(y(clamped(upper)))}" stroke="${fill}" stroke-width="1" stroke-opacity="0.55"/>`,
      );
    parts.push(marker(one, value, shape, place, y(clamped(value)), fill, theme));
  }
  return parts;
}

function marker(one: CellAt, value: number, shape: Shape, x: number, y: number, fill: string, theme: Theme): string {
  // Off the axis the mark says where to, and how far.
  if (value < lowest)
    return `<path d="${shapePath('down', x, y - 2, 4)}" fill="${fill}"/>${haloText(x, y - 9, shown(value), { theme, fill, anchor: 'middle', weight: 500 })}`;
  if (isForced(one))
    return `<path d="${shapePath('circle', x, y, 4.5)}" fill="${theme.background}" stroke="${fill}" stroke-width="1.8"/>`;
  return `<path d="${shapePath(shape, x, y, 3.8)}" fill="${fill}"/>`;
}
