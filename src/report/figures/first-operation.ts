/**
 * The first step that differs, operation by operation: x execution order in bands of layers, y relative L2 on a log scale
 * with exact zeros in a strip of their own. A ring marks the first operation that differs; all before it are bit-equal, so
 * that its inputs are.
 */
import { sharedName, shortNames } from '../data/conditions.ts';
import type { FirstStep, Operation } from '../data/first-operation.ts';
import { cellStates } from '../data/layer-map.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { type Figure, type FigureOptions, frame } from './frame.ts';
import { hookLabel } from './map-grid.ts';
import { acrossGrid, haloText, shapePath, shownName, textWidth, zeroStrip } from './plot.ts';
import { logarithmic, positiveExtent, type Scale } from './scale.ts';
import { escapeXml, round, text } from './svg.ts';
import type { Theme } from './theme.ts';

const panelHeight = 260;
const area = { left: 44, right: 10, top: 28, bottom: 206, strip: 14 };
/** Above the highest value: the ring's label finds room there if nowhere else. */
const headroom = 34;

/** @param steps at least one */
export function firstOperationFigure(steps: readonly FirstStep[], options: FigureOptions = {}): Figure {
  const conditions = steps.map(({ map }) => map.condition);
  const names = shortNames(conditions);
  const nameOf = ({ map }: FirstStep) => shownName(names.get(map.condition.condition) ?? '');
  const shared = shownName(sharedName(conditions));
  const texts = {
    title: titleOf(steps, nameOf),
    subtitle: `${shared === '' ? '' : `${shared}: `}relative L2 of each captured hook’s newest row, in execution order, log. Hatched strip: exactly 0. Ring: the first operation that differs.`,
    shows: steps.map((each) => `${nameOf(each)}: ${words(each)}`).join('; '),
  };
  return frame(texts, options, (palette, width) => {
    const across = steps.length > 1 && width >= 640 ? 2 : 1;
    const gap = 28;
    const panelWidth = (width - (across - 1) * gap) / across;
    const values = steps.flatMap(({ operations }) => operations.map(({ relL2 }) => relL2));
    const range = [area.bottom - area.strip - 8, area.top + headroom] as const;
    const scale = logarithmic(positiveExtent(values) ?? [1e-8, 1e-2], range, 4);
    const parts = steps.map((each, i) => {
      const place = `translate(${round((i % across) * (panelWidth + gap))} ${Math.floor(i / across) * panelHeight})`;
      return `<g transform="${place}">${panel(each, nameOf(each), panelWidth, scale, palette.theme).join('')}</g>`;
    });
    return { height: Math.ceil(steps.length / across) * panelHeight - 18, parts };
  });
}

function panel(found: FirstStep, name: string, width: number, scale: Scale, theme: Theme): string[] {
  const { operations, step, map, first } = found;
  const prompt = map.promptIndex === null ? '' : `prompt ${map.promptIndex}, `;
  const head = `${name} – ${prompt}${step === null ? 'no step differs' : `step ${step}`}`;
  const plot = { x: area.left, y: area.top, width: width - area.left - area.right, height: area.bottom - area.top };
  const x = (i: number) => round(plot.x + ((i + 0.5) / Math.max(1, operations.length)) * plot.width);
  const strip = { x: plot.x, y: area.bottom - area.strip, width: plot.width, height: area.strip };
  const middle = strip.y + strip.height / 2;
  const y = (value: number) => round(scale.at(value));
  const finite = operations.map(({ state }) => state === cellStates.finite);
  const line = operations
    .map(({ relL2 }, i) => (finite[i] ? `${i > 0 && finite[i - 1] ? 'L' : 'M'}${x(i)} ${y(relL2)}` : ''))
    .join('');
  const dots = operations.map((operation, i) => {
    const { state, relL2, hook, differ, elements } = operation;
    const data = `data-hook="${escapeXml(hook)}" data-rel-l2="${relL2}" data-differ="${differ}" data-elements="${elements}"`;
    if (state === cellStates.zero)
      return `<path ${data} class="zero" d="${shapePath('circle', x(i), middle, 2.2)}" fill="${theme.ink3}"/>`;
    if (state === cellStates.finite)
      return `<path ${data} class="value" d="${shapePath('circle', x(i), y(relL2), 2.7)}" fill="${theme.cached}"/>`;
    const sign = state === cellStates.nan ? '×' : '∞';
    return text(
      x(i),
      area.top - 2,
      sign,
      theme.bad,
      `${data} class="odd" font-size="13" font-weight="700" text-anchor="middle"`,
    );
  });
  return [
    text(0, 12, shownName(head, Math.floor(width / 6.6)), theme.ink, 'font-size="12.5" font-weight="620"'),
    zeroStrip(strip),
    ...acrossGrid(plot, scale, theme),
    text(plot.x - 8, middle + 4, '0', theme.ink2, 'font-size="12" text-anchor="end"'),
    ...bands(found, x, plot.width / Math.max(1, operations.length), theme),
    line === ''
      ? ''
      : `<path d="${line}" fill="none" stroke="${theme.cached}" stroke-opacity="0.35" stroke-width="1.4"/>`,
    ...dots,
    ...(first === null ? [] : ring(found, first, { x, left: plot.x, right: plot.x + plot.width }, scale, theme)),
  ];
}

/** Rules between layers, and their names where there is room. */
function bands({ operations }: FirstStep, x: (i: number) => number, step: number, theme: Theme): string[] {
  const parts: string[] = [];
  let labelEnd = Number.NEGATIVE_INFINITY;
  for (let from = 0; from < operations.length; ) {
    let to = from + 1;
    const inBlock = (i: number) => operations[i].hook.startsWith('blocks.');
    while (to < operations.length && operations[to].layer === operations[from].layer && inBlock(to) === inBlock(from))
      to += 1;
    const left = round(x(from) - step / 2);
    if (from > 0) parts.push(`<path d="M${left} ${area.top}V${area.bottom}" stroke="${theme.rule}"/>`);
    const name = inBlock(from) ? `L${operations[from].layer}` : operations[from].layer < 0 ? 'in' : 'out';
    const middle = (x(from) + x(to - 1)) / 2;
    if (middle - textWidth(name) / 2 > labelEnd) {
      parts.push(text(round(middle), area.bottom + 16, name, theme.ink2, 'font-size="12" text-anchor="middle"'));
      labelEnd = middle + textWidth(name) / 2 + 6;
    }
    from = to;
  }
  return parts;
}

/** The ring, and what it is where no mark and no line is, as near as can be. */
function ring(
  { operations }: FirstStep,
  first: number,
  place: { x: (i: number) => number; left: number; right: number },
  scale: Scale,
  theme: Theme,
): string[] {
  const { state, relL2, differ, elements } = operations[first];
  const isNumber = state === cellStates.finite;
  const height = (operation: Operation) => (operation.state === cellStates.finite ? scale.at(operation.relL2) : null);
  const [x, y] = [place.x(first), round(height(operations[first]) ?? area.top - 6)];
  const name = hookLabel(operations[first]);
  const size = `${isNumber ? `${formatValue(relL2)}, ` : ''}${formatCount(differ)} of ${formatCounted(elements, 'element')}`;
  const width = Math.max(textWidth(name), textWidth(size)) + 6;
  const points = operations.map((operation, i) => ({ x: place.x(i), y: height(operation) }));
  const [labelX, top, anchor] = freePlace(points, { x, y, width, left: place.left, right: place.right });
  return [
    `<path class="ring" d="${shapePath('circle', x, y, 6.5)}" fill="none" stroke="${theme.ink}" stroke-width="1.8"/>`,
    haloText(labelX, top, name, { theme, anchor }),
    haloText(labelX, top + 15, size, { theme, anchor, weight: 400 }),
  ];
}

/** Baseline of the first of two lines beside a mark: the nearest place that no point and no line between points crosses. */
function freePlace(
  points: readonly { x: number; y: number | null }[],
  { x, y, width, left, right }: { x: number; y: number; width: number; left: number; right: number },
): [x: number, y: number, anchor: 'start' | 'end'] {
  const isCrossed = (from: number, to: number, top: number, bottom: number) =>
    points.some(({ x: px, y: py }, i) => {
      if (py === null) return false;
      const next = points[i + 1];
      if (px > from - 4 && px < to + 4 && py > top - 4 && py < bottom + 4) return true;
      if (!next || next.y === null || next.x < from || px > to) return false;
      return Math.min(py, next.y) < bottom && Math.max(py, next.y) > top;
    });
  const candidates = [];
  for (let baseline = area.top + 6; baseline < area.bottom - area.strip - 24; baseline += 4) {
    for (const anchor of ['start', 'end'] as const) {
      const at = anchor === 'start' ? x + 11 : x - 11;
      const [from, to] = anchor === 'start' ? [at, at + width] : [at - width, at];
      const isFree = from >= left && to <= right && !isCrossed(from, to, baseline - 11, baseline + 19);
      if (isFree) candidates.push({ at, baseline, anchor, distance: Math.abs(baseline + 4 - y) });
    }
  }
  if (candidates.length === 0)
    return x + width + 11 <= right ? [x + 11, area.top + 4, 'start'] : [x - 11, area.top + 4, 'end'];
  const { at, baseline, anchor } = candidates.reduce((best, each) => (each.distance < best.distance ? each : best));
  return [at, baseline, anchor];
}

function words({ operations, first, step }: FirstStep): string {
  if (first === null || step === null) return 'no step differs';
  const { differ, elements } = operations[first];
  return `${hookLabel(operations[first])} differs first, at step ${step}, in ${formatCount(differ)} of ${formatCounted(elements, 'element')}`;
}

function titleOf(steps: readonly FirstStep[], nameOf: (step: FirstStep) => string): string {
  const found = steps.filter(({ first }) => first !== null);
  if (found.length === 0) return 'No operation differs in any step';
  if (steps.length === 1) return capital(words(steps[0]));
  const label = ({ operations, first }: FirstStep) => (first === null ? 'nothing' : hookLabel(operations[first]));
  const labels = new Set(steps.map(label));
  if (labels.size === 1) return `${capital(label(steps[0]))} differs first under each of ${steps.length} conditions`;
  const [head, ...rest] = steps;
  const other = rest.find((each) => label(each) !== label(head)) ?? head;
  return `First to differ: ${label(head)} under ${nameOf(head)}, ${label(other)} under ${nameOf(other)}`;
}

function capital(content: string): string {
  return content.charAt(0).toUpperCase() + content.slice(1);
}
