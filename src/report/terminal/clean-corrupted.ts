/**
 * A clean/corrupted run as a person reads it, 80 columns: both baselines, a map of recoveries for each grid, then the gates and
 * the answer last.
 */
import type { CleanCorruptedFindings, CleanCorruptedSummary } from '../../patching/clean-corrupted/run.ts';
import { bestCell, cellName, heatMaps, metricName } from '../clean-corrupted.ts';
import { finish, gateLines, notValid } from './gates.ts';
import { heatMapLines, scaleLines } from './heat-map.ts';
import { displayWidth, flow, visible, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatValue } from './numbers.ts';
import type { PatchText } from './patching.ts';
import { shown } from './recovery.ts';

/** Lay out a summary. */
export function renderCleanCorrupted(summary: CleanCorruptedSummary, options: PatchText): string {
  const { columns, color, run } = options;
  const { found, gates } = summary;
  if (!found) return finish([...headLines(summary, null, columns), '', ...notValid(gates, options)], options);
  const blocks = [
    headLines(summary, found, columns),
    baselineLines(summary, found, columns),
    ...(found.clean === found.corrupted ? [] : [...heatMapLines(heatMaps(found), found, columns), scaleLines(columns)]),
    noteLines(found, columns),
    gateLines(gates, columns, color),
    [...verdictLines(summary, found, options), `  look           ${run}`],
  ];
  const lines = blocks.filter((block) => block.length > 0).flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return finish(lines, options);
}

function headLines(
  { model, spec, precision, kernels }: CleanCorruptedSummary,
  found: CleanCorruptedFindings | null,
  columns: number,
): string[] {
  const left = `${model}  ${spec.name}  ${precision}, ${kernels}`;
  const right = found
    ? `${formatCounted(found.tokens.length, 'token')}, ${formatCounted(found.method.cells, 'cell')}`
    : '';
  const gap = Math.min(columns, 80) - 1 - displayWidth(left) - displayWidth(right);
  const first = gap >= 2 ? [left + ' '.repeat(gap) + right] : [left, `  ${right}`];
  return spec.description === undefined
    ? first
    : [...first, ...wrap(spec.description, columns, { first: '  ', indent: '  ' })];
}

function baselineLines(summary: CleanCorruptedSummary, found: CleanCorruptedFindings, columns: number): string[] {
  const { tokens, differing, clean, corrupted, base } = found;
  const values = `${words(metricName(found, summary))}   clean ${formatValue(clean)}   corrupted ${formatValue(corrupted)}`;
  const distance =
    found.pair === null
      ? []
      : [`  corrupted to clean: L2 of the logits ${formatValue(base.distance)}, KL ${formatValue(base.kl)}`];
  const pairs = differing.map((i) => `${i}:${visible(tokens[i].clean)}→${visible(tokens[i].corrupted)}`);
  const most = 8;
  const shownPairs = [
    ...pairs.slice(0, most),
    ...(pairs.length > most ? [`… ${formatCount(pairs.length - most)} more`] : []),
  ];
  const differ =
    pairs.length === 0
      ? []
      : flow(shownPairs, columns, { first: '  tokens that differ   ', indent: '    ', separator: '  ' });
  return [
    ...wrap(values.replaceAll('   ', ' \u00a0 '), columns, { indent: '  ' }).map((line) =>
      line.replaceAll('\u00a0', ' '),
    ),
    ...distance,
    ...differ,
  ];
}

function noteLines({ grids, method }: CleanCorruptedFindings, columns: number): string[] {
  const rows = grids.flatMap((grid) => grid.rows);
  const lines: string[] = [];
  const say = (text: string) => lines.push(...wrap(text, columns, { first: '  ', indent: '    ' }));
  const certain = rows.filter((row) => row.by_construction).length;
  if (certain > 0)
    say(
      `○ ${formatCounted(certain, 'cell')}: R = 1 by construction, since the patch cuts every path; it is no evidence`,
    );
  if (method.vacuous > 0) say(`· ${formatCounted(method.vacuous, 'cell')}: the patch changes no bit`);
  const harmful = rows.filter((row) => row.harmful).length;
  if (harmful > 0) say(`! harmful: ${formatCount(harmful)} had nothing to recover, and the patch made a difference`);
  if (method.reason !== null) say(`every cell a full pass, or resumed by itself: ${method.reason}`);
  return lines;
}

function verdictLines(
  summary: CleanCorruptedSummary,
  found: CleanCorruptedFindings,
  { color, columns }: PatchText,
): string[] {
  const paint = marks(color);
  const say = (mark: string, text: string) => wrap(`${mark} ${text}`, columns, { indent: '  ' });
  if (found.clean === found.corrupted)
    return say(
      paint.good('='),
      `NOTHING TO RECOVER  ${words(metricName(found, summary))} is ${formatValue(found.clean)} in both runs`,
    );
  const best = bestCell(found);
  if (best === null) return say(paint.warn('≈'), 'MEASURED  every cell changes nothing, or is by construction');
  const name = ({ kind, row }: typeof best) => words(cellName(kind, row, found));
  const value = ({ row }: typeof best) => `${shown(row.metric_recovery ?? 0)}${row.exact ? ' =' : ''}`;
  // A patch of the stream carries everything that was written to it: what writes says more.
  const writer = isStream(best.kind) ? bestCell(found, (kind) => !isStream(kind)) : null;
  const behind = writer === null ? '' : `; outside the residual stream ${name(writer)}: ${value(writer)}`;
  return say(
    paint.warn('≈'),
    `MEASURED  most recovers ${name(best)}: R ${value(best)} of ${words(metricName(found, summary))}${behind}`,
  );
}

const isStream = (kind: string) => kind.startsWith('resid_');

/** A sentence with token texts in it, with nothing that could steer the terminal. */
function words(text: string): string {
  return text
    .split(' ')
    .map((word) => visible(word))
    .join(' ');
}
