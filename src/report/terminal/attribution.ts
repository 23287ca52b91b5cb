/**
 * An attribution as a person reads it, 80 columns: classes of operations with a bar for each share, rounding places, gains by
 * layer, nulls; then the gates and the answer last. What a class or a place makes is a share of a measured drift: no sentence
 * here says that a cache carries it.
 */
import type {
  AttributionSummary,
  ClassesSummary,
  GainsSummary,
  NullFound,
  PlacesSummary,
} from '../../patching/attribution/run/summary.ts';
import { operationNames, times, verdictText } from './attribution-verdict.ts';
import { finish, gateLines, notValid } from './gates.ts';
import { padLeft, padRight, type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatShare, formatValue } from './numbers.ts';
import { experimentHead } from './run-line.ts';

export interface AttributionText extends TerminalOptions {
  /** Where the run's files are. */
  run: string;
}

/** Lay out a summary. */
export function renderAttribution(summary: AttributionSummary, options: AttributionText): string {
  const { columns, color } = options;
  const covers = `${formatCounted(summary.prompts, 'prompt')}, ${formatCounted(summary.steps, 'decode step')}`;
  const head = experimentHead({ ...summary, planted: [] }, covers, columns);
  if (!summary.valid) return finish([...head, '', ...notValid(summary.gates, options)], options);
  const paint = marks(color);
  const blocks = [
    head,
    ...(summary.classes.length > 0 ? [classLines(summary.classes, summary.steps)] : []),
    summary.places ? placeLines(summary.places) : [],
    summary.gains ? gainLines(summary.gains, summary.steps) : [],
    nullLines(summary),
    gateLines(summary.gates, columns, color),
    [
      ...wrap(`${summary.observed === 0 ? paint.good('=') : paint.warn('≈')} ${verdictText(summary)}`, columns, {
        indent: '  ',
      }),
      `  look           ${options.run}`,
    ],
  ];
  const lines = blocks.filter((block) => block.length > 0).flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return finish(lines, options);
}

const barWidth = 16;

/** A bar of a share of 0 … 1 in eighths; what is below 0 or above 1 is marked. */
function bar(share: number): string {
  if (share < 0) return padRight('▾', barWidth);
  const eighths = Math.round(Math.min(1, share) * barWidth * 8);
  if (eighths === 0) return padRight(share > 0 ? '▏' : '·', barWidth);
  const rest = eighths % 8;
  const end = share > 1 ? '▴' : rest === 0 ? '' : '▏▎▍▌▋▊▉'[rest - 1];
  return padRight('█'.repeat(Math.floor(eighths / 8) - (share > 1 ? 1 : 0)) + end, barWidth);
}

function classLines(games: readonly ClassesSummary[], steps: number): string[] {
  const lines = [
    'Classes of operations on the decode kernel: Shapley share of the drift',
    `  D, L2 of centred logits, mean of ${formatCounted(steps, 'step')}; [95 %, by prompt]`,
  ];
  for (const { history, all, parts } of games) {
    const title = history === 'recomputed' ? 'recomputed history: one step’s error' : 'cached history: a whole decode';
    if (all === 0) {
      lines.push(`  ${padRight(title, 40)}v(all) 0: nothing to share out`);
      continue;
    }
    lines.push(
      `  ${padRight(title, 40)}v(all) ${formatValue(all)}`,
      `  ${padRight('', 12)}${padRight('', barWidth + 1)}${padRight('share', 17)}${padLeft('Shapley', 9)}${padLeft('one in', 10)}${padLeft('left out', 10)}`,
    );
    for (const { operation, share, interval, shapley, oneIn, leaveOneOut } of parts) {
      const [low, high] = [interval?.low ?? 0, interval?.high ?? 0].map(percent);
      const range = low === high ? '' : ` [${low}–${high}]`;
      const text = share === null ? '∅' : `${percent(share)} %${range}`;
      const numbers = [
        padLeft(formatValue(shapley), 9),
        padLeft(formatValue(oneIn), 10),
        padLeft(formatValue(leaveOneOut), 10),
      ];
      lines.push(
        `  ${padRight(operationNames[operation], 12)}${bar(share ?? 0)} ${padRight(text, 17)}${numbers.join('')}`,
      );
    }
  }
  return lines;
}

/** A share in whole percent; what is not 0 is not shown as 0. */
function percent(share: number): string {
  const rounded = Math.round(share * 100);
  if (rounded === 0 && share !== 0) return share > 0 ? '< 1' : '> −1';
  return String(rounded).replace('-', '−');
}

function placeLines({ all, none, parts }: PlacesSummary): string[] {
  const most = Math.max(all, ...parts.map(({ oneIn }) => oneIn));
  const ordered = parts.toSorted((a, b) => b.oneIn - a.oneIn);
  // Places at which this family does nothing: rounding there alone is rounding nowhere.
  const idle = ordered.filter(({ oneIn, leaveOneOut }) => oneIn === none && leaveOneOut === all);
  const shown = ordered.filter((part) => !idle.includes(part));
  const column = (value: number) => padLeft(formatValue(value), 11);
  return [
    'Rounding places: D where this place alone rounds, and where all others do',
    `  ${padRight('', 16)}${padRight('', barWidth)}${padLeft('one in', 11)}${padLeft('left out', 11)}`,
    `  ${padRight('all', 16)}${bar(most === 0 ? 0 : all / most)}${column(all)}${column(none)}`,
    ...shown.map(
      ({ place, oneIn, leaveOneOut }) =>
        `  ${padRight(place, 16)}${bar(most === 0 ? 0 : oneIn / most)}${column(oneIn)}${column(leaveOneOut)}`,
    ),
    `  ${padRight('none', 16)}${bar(most === 0 ? 0 : none / most)}${column(none)}${column(all)}`,
    ...(idle.length > 0 ? [`  no effect: ${idle.map(({ place }) => place).join(', ')}`] : []),
  ];
}

function gainLines({ layers, drift, ratio }: GainsSummary, steps: number): string[] {
  const gain = (value: number | null) => padLeft(value === null ? '–' : times(value), 10);
  const rows = layers.map(
    ({ label, actual, random, steps: entered }) =>
      `  ${padRight(label, 10)}${gain(actual)}${gain(random)}${padLeft(formatShare(entered / steps), 12)}`,
  );
  const say = (text: string) => wrap(text, 80, { first: '  ', indent: '    ' });
  const { observed, predictedActual, predictedRandom } = drift;
  return [
    'Amplification ‖δ out‖ / ‖δ in‖ of the newest row, decode kernel',
    `  ${padRight('', 10)}${padLeft('actual δ', 10)}${padLeft('random δ', 10)}${padLeft('δ enters', 12)}`,
    ...(rows.length <= 18 ? rows : [...rows.slice(0, 8), `  … ${rows.length - 16} more layers`, ...rows.slice(-8)]),
    ...say(
      `logits, rms: predicted ${formatValue(predictedActual)} from actual gains, ${formatValue(predictedRandom)} from random ones; observed ${formatValue(observed)}`,
    ),
    ...(ratio
      ? say(
          `by step, actual gains: ${times(ratio.q50)} the observed drift in the median [5–95 % of steps: ${times(ratio.q05)}–${times(ratio.q95)}]`,
        )
      : []),
  ];
}

function nullLines({ nulls, observed, driftingSteps, steps }: AttributionSummary): string[] {
  if (nulls.length === 0) return [];
  const column = (value: number) => padLeft(formatValue(value), 10);
  const lines = [
    'Nulls: D by step, and the mean of each seed’s run',
    `  ${padRight('', 12)}${['mean', 'q95', 'q99.9', 'max'].map((text) => padLeft(text, 10)).join('')}   seed means`,
  ];
  for (const { null: name, mean, quantiles, max, ceiling, seedMeans, seeds } of nulls) {
    const range = `${formatValue(seedMeans.q05)}–${formatValue(ceiling)}, ${formatCounted(seeds, 'seed')}`;
    lines.push(
      `  ${padRight(name, 12)}${column(mean)}${column(quantiles.q95)}${column(quantiles.q999)}${column(max)}   ${range}`,
    );
  }
  lines.push(
    `  ${padRight('observed', 12)}${column(observed)}   drifts in ${formatShare(driftingSteps / steps)} of the steps`,
  );
  for (const found of nulls) lines.push(...wrap(nullNote(found), 80, { first: '  ', indent: '    ' }));
  return lines;
}

function nullNote({ null: name, classes, unaffected, flipped, below, seeds, beyond, steps }: NullFound): string {
  const what =
    name === 'placebo'
      ? `placebo: the uncached arm with K of ${classes.length === 0 ? 'no class' : classes.map((one) => operationNames[one]).join(', ')} in a random order`
      : `random-ulp: ${formatValue(flipped ?? 0)} elements a step moved by one unit, as often as the kernel changes them`;
  const none = unaffected === 0 ? '' : ` (of none on ${formatCounted(unaffected, 'prompt')}, where D is 0)`;
  const rank = `${formatCount(below)} of ${formatCounted(seeds, 'seed')} drift less than observed`;
  return `${what}${none}; ${rank}, ${formatCount(beyond)} of ${formatCounted(steps, 'step')} exceed its 99.9 % quantile`;
}
