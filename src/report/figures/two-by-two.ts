/** The 2×2 of history and kernel: bars of the distance that is left, from 0, with 95 % whiskers; a panel for each condition. */
import type { FactorCell, TwoByTwoData, TwoByTwoPanel } from '../data/two-by-two.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { shown } from '../terminal/recovery.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { haloText, readable, shownName, textWidth } from './plot.ts';
import { round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const rowHeight = 38;
const panelTop = 30;
const panelHeight = panelTop + 4 * rowHeight + 18;
const gap = 28;

export function twoByTwoFigure(data: TwoByTwoData, options: FigureOptions = {}): Figure {
  const title = twoByTwoTitle(data.panels[0], data.panels.length > 1);
  const subtitle = subtitleOf(data);
  return frame({ title, subtitle, shows: `Bars. ${subtitle}` }, options, (palette, width) => {
    const columns = Math.min(data.panels.length, width >= 1000 ? 3 : 2);
    const own = (width - gap * (columns - 1)) / columns;
    const parts = data.panels.flatMap((panel, i) => [
      `<g transform="translate(${round((i % columns) * (own + gap))} ${Math.floor(i / columns) * panelHeight})">`,
      ...panelParts(panel, Math.min(own, 480), palette.theme),
      '</g>',
    ]);
    return { height: Math.ceil(data.panels.length / columns) * panelHeight, parts };
  });
}

/** What the four cells of a panel say. @param several the panel is one of several, and says which */
export function twoByTwoTitle({ cells, name }: TwoByTwoPanel, several: boolean): string {
  const find = (history: string, kernel: string) =>
    cells.find((cell) => cell.history === history && cell.kernel === kernel);
  const neither = find('recomputed', 'prefill');
  const base = find('cached', 'decode');
  const where = several ? `${shownName(name)}: ` : '';
  if (neither && neither.exact < neither.cells)
    return `${where}Not valid: with both replaced ${formatCount(neither.cells - neither.exact)} of ${formatCount(neither.cells)} steps still differ`;
  if (cells.some(({ notFinite }) => notFinite > 0)) return `${where}Distances are not numbers: nothing is compared`;
  if (base?.distance?.value === 0)
    return `${where}Nothing to recover: the logits of the arms are equal at every patched step`;
  const [history, kernel] = [find('recomputed', 'decode'), find('cached', 'prefill')].map(recoveryText);
  return `${where}Recomputed history removes ${history} of the difference, the prefill kernel ${kernel}`;
}

/** `0.80 [0.60–1]`; ∅ where there is nothing to recover. */
export function recoveryText(cell: FactorCell | undefined): string {
  const found = cell?.recovery;
  if (!found) return '∅';
  const { value, lower, upper } = found;
  return lower === null || upper === null || lower === upper
    ? shown(value)
    : `${shown(value)} [${shown(lower)}–${shown(upper)}]`;
}

function subtitleOf({ panels, shared, more }: TwoByTwoData): string {
  const [{ cells }] = panels;
  return [
    `Mean L2 of mean-centred logits to the uncached arm at the patched step, ${shownName(shared, 60)}: ${formatCounted(cells[0].cells, 'step')} of ${formatCounted(cells[0].prompts, 'prompt')}${panels.length > 1 ? ' (first panel)' : ''}.`,
    'Whiskers: 95 % by prompt.',
    ...(panels.length > 1 ? ['Each panel has its own linear axis.'] : []),
    ...(more > 0 ? [`${formatCounted(more, 'more condition')} ${more === 1 ? 'has' : 'have'} no panel.`] : []),
  ].join(' ');
}

const words = {
  cached: 'cached history',
  recomputed: 'recomputed history',
  decode: 'decode kernel',
  prefill: 'prefill kernel',
};

function panelParts({ condition, spec, cells, name }: TwoByTwoPanel, width: number, theme: Theme): string[] {
  const most = Math.max(0, ...cells.map(({ distance }) => distance?.upper ?? distance?.value ?? 0));
  // Numbers stand right of the whiskers.
  const notes = cells.map(noteOf);
  const room = width - Math.max(...notes.map((note) => textWidth(note))) - 16;
  const scale = (value: number) => (most > 0 ? (value / most) * Math.max(60, room) : 0);
  return [
    text(0, 14, shownName(name, 48), theme.ink, 'font-size="12.5" font-weight="620"'),
    `<path d="M0.5 ${panelTop - 6}V${panelTop + 4 * rowHeight}" stroke="${theme.ink3}"/>`,
    ...cells.flatMap((cell, i) => rowParts(cell, notes[i], panelTop + i * rowHeight, scale, theme)),
    ...cells.map((cell, i) =>
      readable(
        { x: 1, y: panelTop + i * rowHeight - 3, width: width - 2, height: rowHeight - 3 },
        {
          ...{ condition, spec, history: cell.history, kernel: cell.kernel, horizon: cell.horizon },
          ...factsOf(cell),
        },
      ),
    ),
  ];
}

function factsOf({ distance, recovery, notFinite, exact, cells, prompts }: FactorCell) {
  const nothing = notFinite > 0 ? 'not a number' : '∅ nothing to recover';
  return {
    ...{ distance: distance?.value ?? 'not a number', low: distance?.lower ?? null, high: distance?.upper ?? null },
    ...{ recovery: recovery?.value ?? nothing, exact, n: cells, prompts },
  };
}

/** `0.081 (11/48 exactly 0)` */
function noteOf(cell: FactorCell): string {
  const { exact, cells, distance, notFinite, history, kernel } = cell;
  const all = `${formatCount(exact)} / ${formatCount(cells)}`;
  if (notFinite > 0) return `× not a number in ${formatCount(notFinite)} / ${formatCount(cells)}`;
  if (history === 'recomputed' && kernel === 'prefill')
    return exact === cells
      ? `✓ exactly 0 in ${all}`
      : `✗ differs in ${formatCount(cells - exact)} / ${formatCount(cells)}`;
  if (exact === cells) return `exactly 0 in ${all}`;
  return `${formatValue(distance?.value ?? Number.NaN)}${exact > 0 ? `  (${formatCount(exact)}/${formatCount(cells)} exactly 0)` : ''}`;
}

function rowParts(cell: FactorCell, note: string, y: number, scale: (value: number) => number, theme: Theme): string[] {
  const { history, kernel, distance, notFinite, exact, cells } = cell;
  const neither = history === 'recomputed' && kernel === 'prefill';
  const good = neither && exact === cells && notFinite === 0;
  const fill = good ? theme.ok : notFinite > 0 || (neither && exact < cells) ? theme.bad : theme.ink;
  const label = text(6, y + 9, `${words[history]} · ${words[kernel]}`, good ? theme.ok : theme.ink2, 'font-size="12"');
  const [top, height] = [y + 14, 14];
  const value = distance === null || notFinite > 0 ? 0 : scale(distance.value);
  const end = distance?.upper ? scale(distance.upper) : value;
  const bar =
    value > 0
      ? [
          `<rect x="1" y="${top}" width="${round(value)}" height="${height}" fill="${theme.cached}" fill-opacity="${history === 'cached' && kernel === 'decode' ? 1 : 0.55}"/>`,
          ...whisker(distance, top + height / 2, scale, theme),
        ]
      : [];
  return [label, ...bar, haloText(Math.max(6, end + 8), top + 11, note, { theme, fill })];
}

function whisker(
  distance: FactorCell['distance'],
  y: number,
  scale: (value: number) => number,
  theme: Theme,
): string[] {
  if (!distance || distance.lower === null || distance.upper === null) return [];
  const [from, to] = [scale(distance.lower), scale(distance.upper)].map((x) => round(x + 1));
  return [`<path d="M${from} ${y}H${to}" stroke="${theme.ink}" stroke-width="1.4"/>`];
}
