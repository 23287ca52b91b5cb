/**
 * A patch run as a person reads it, 80 columns: the 2×2 or the list of cells with recovery by horizon, grids as a map of
 * layers, then the gates and the answer last. A cache is said to carry a difference only after a 2×2.
 */
import type { CellSummary, PatchSummary } from '../../patching/run/summary.ts';
import { finish, gateLines, notValid } from './gates.ts';
import { padLeft, padRight, type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatValue } from './numbers.ts';
import { gridLines } from './patch-grid.ts';
import { at, intervalText, isForced, recoveryText, shortText, shown } from './recovery.ts';
import { experimentHead } from './run-line.ts';

/** Lower end of R's interval from which on a cell carries the difference. */
const supported = 0.8;

export interface PatchText extends TerminalOptions {
  /** Where the run's files are. */
  run: string;
}

/** Lay out a summary. */
export function renderPatch(summary: PatchSummary, options: PatchText): string {
  const { columns, color } = options;
  const head = headLines(summary, columns);
  if (!summary.valid) return finish([...head, '', ...notValid(summary.gates, options)], options);
  const blocks = [
    head,
    isTwoByTwo(summary)
      ? twoByTwoLines(summary)
      : summary.spec.grid
        ? gridLines(summary, columns)
        : listLines(summary, columns),
    partLines(summary),
    noteLines(summary, columns),
    gateLines(summary.gates, columns, color),
    [...verdictLines(summary, options), `  look           ${options.run}`],
  ];
  const lines = blocks.filter((block) => block.length > 0).flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return finish(lines, options);
}

function headLines({ model, spec, prompts, patchedSteps, ...condition }: PatchSummary, columns: number): string[] {
  const right = `${formatCounted(prompts, 'prompt')}, ${formatCounted(patchedSteps, 'patched step')}`;
  return experimentHead({ model, spec, ...condition }, right, columns);
}

function isTwoByTwo({ spec, cells }: PatchSummary): boolean {
  return spec.patches.length === 0 && new Set(cells.map(({ history, kernel }) => `${history} ${kernel}`)).size === 4;
}

/** Histories down, kernels across, at every horizon. */
function twoByTwoLines({ cells }: PatchSummary): string[] {
  const whole = Math.max(...cells.map(({ label }) => label.layer));
  const cell = (history: string, kernel: string) =>
    cells.find(
      (one) => one.history === history && one.kernel === kernel && (history === 'cached' || one.label.layer === whole),
    );
  const lines = [
    'Recovery R of the difference between the arms [95 %, by prompt]',
    `  after  history       ${padLeft('decode kernel', 26)}${padLeft('prefill kernel', 28)}`,
  ];
  for (const { horizon } of cells[0].horizons) {
    for (const history of ['cached', 'recomputed']) {
      const text = ['decode', 'prefill'].map((kernel) =>
        recoveryText(at(cell(history, kernel), horizon), history === 'cached' && kernel === 'decode'),
      );
      const label = history === 'cached' ? padLeft(horizon === 0 ? 'step' : `+${horizon}`, 7) : ' '.repeat(7);
      lines.push(`${label}  ${padRight(history, 14)}${padLeft(text[0], 26)}${padLeft(text[1], 28)}`);
    }
  }
  lines.push('  R   0 as the cached arm   1 as the uncached arm   = not one bit differs');
  return lines;
}

/** One line per cell, horizons across. */
function listLines({ cells }: PatchSummary, columns: number): string[] {
  const horizons = [...new Set(cells.flatMap((cell) => cell.horizons.map(({ horizon }) => horizon)))].toSorted(
    (a, b) => a - b,
  );
  const width = 13;
  const nameWidth = Math.max(20, Math.min(columns, 80) - 3 - width * Math.min(4, horizons.length));
  const lines: string[] = [];
  for (let first = 0; first < horizons.length; first += 4) {
    const part = horizons.slice(first, first + 4);
    lines.push(
      `  ${padRight('Recovery R at', nameWidth)}${part.map((h) => padLeft(h === 0 ? 'the step' : `+${h}`, width)).join('')}`,
    );
    for (const cell of cells) {
      const texts = part.map((horizon) => padLeft(shortText(at(cell, horizon)), width));
      const name = `${cell.history} ${cell.kernel}${cell.patch === 'none' ? '' : `  ${cell.patch}`}`;
      const [line, ...more] = wrap(name, nameWidth - 1);
      lines.push(`  ${padRight(line, nameWidth)}${texts.join('')}`, ...more.map((rest) => `    ${rest}`));
      const intervals = part.map((horizon) => padLeft(intervalText(at(cell, horizon)), width));
      if (intervals.some((text) => text.trim() !== '')) lines.push(`  ${' '.repeat(nameWidth)}${intervals.join('')}`);
    }
  }
  return lines;
}

/** The parts of the history with the largest shares. */
function partLines({ parts }: PatchSummary): string[] {
  if (parts.length === 0) return [];
  const most = parts.toSorted((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 8);
  const rest = parts.length - most.length;
  return [
    'Shapley share of what the whole history removes, and what each part alone does',
    ...most.map(
      ({ part, share, value, oneIn }) =>
        `  ${padRight(part, 22)}${padLeft(share === null ? '∅' : shown(share), 8)}${padLeft(formatValue(value), 11)}${padLeft(formatValue(oneIn), 11)}`,
    ),
    ...(rest > 0 ? [`  … ${formatCount(rest)} more`] : []),
  ];
}

function noteLines({ cells }: PatchSummary, columns: number): string[] {
  const lines: string[] = [];
  const say = (text: string) => lines.push(...wrap(text, columns, { first: '  ', indent: '    ' }));
  const firsts = cells.map(({ horizons }) => horizons[0]).filter((found) => found !== undefined);
  const forced = firsts.filter((found) => found.recovery !== null && isForced(found)).length;
  if (forced > 0)
    say(
      `○ ${formatCounted(forced, 'cell')}: R = 1 at the patched step is by construction, since the patch cuts every path; it is no evidence`,
    );
  const measured = firsts.reduce((sum, { count }) => sum + count, 0);
  const vacuous = firsts.reduce((sum, one) => sum + one.vacuous, 0);
  const harmful = firsts.reduce((sum, one) => sum + one.harmful, 0);
  if (vacuous > 0)
    say(`∅ vacuous: ${formatCount(vacuous)} of ${formatCount(measured)} measurements had nothing to recover`);
  if (harmful > 0) say(`! harmful: ${formatCount(harmful)} had nothing to recover, and the patch made a difference`);
  const unchanged = cells.reduce((sum, cell) => sum + (cell.patch === 'none' ? 0 : cell.unchanged), 0);
  if (unchanged > 0)
    say(`changes nothing: ${formatCount(unchanged)} patches wrote what was there${soleDifferences(cells)}`);
  const flips = Math.max(0, ...cells.map(({ tokens }) => tokens.flips));
  if (flips > 0) {
    const best = cells.reduce((top, cell) => (cell.tokens.returned > top.tokens.returned ? cell : top));
    say(
      `tokens: ${formatCounted(flips, 'patched step')} had flipped; at most ${formatCount(best.tokens.returned)} return (${best.history} ${best.kernel}, ${best.patch})`,
    );
  }
  return lines;
}

/** Where a grid finds differences in a few cells only, these are where the arms differ, whatever reaches the logits. */
function soleDifferences(cells: PatchSummary['cells']): string {
  const differing = cells.filter(({ patch, count, unchanged }) => patch !== 'none' && unchanged < count);
  if (differing.length === 0 || differing.length > 3 || cells.length < 8) return '';
  const named = differing.map(({ patch, count, unchanged }) => `${patch} (${formatCount(count - unchanged)})`);
  return `; those that changed something: ${named.join(', ')}`;
}

function verdictLines(summary: PatchSummary, { color, columns }: PatchText): string[] {
  const paint = marks(color);
  const say = (mark: string, text: string) => wrap(`${mark} ${text}`, columns, { indent: '  ' });
  const { cells } = summary;
  const first = cells[0]?.horizons[0];
  const base = cells.reduce((sum, { horizons }) => sum + (horizons[0]?.distanceBase ?? 0), 0);
  if (first === undefined) return say(paint.warn('≈'), 'NOTHING WAS PATCHED');
  const patches = cells.filter(({ patch }) => patch !== 'none');
  if (patches.length > 0 && patches.every(({ unchanged, count }) => unchanged === count)) {
    return say(paint.good('='), 'CHANGES NOTHING  every patch wrote what was there');
  }
  if (base === 0)
    return say(
      paint.good('='),
      'VACUOUS  the logits of the arms are equal at every patched step: there is nothing to recover',
    );
  if (!isTwoByTwo(summary)) {
    const open = cells.filter(
      ({ horizons: [at0] }) => at0 !== undefined && at0.recovery !== null && at0.byConstruction < at0.count,
    );
    if (open.length === 0) return say(paint.warn('≈'), 'MEASURED  every cell is vacuous or by construction');
    const best = open.reduce((top, cell) =>
      (cell.horizons[0].recovery ?? 0) > (top.horizons[0].recovery ?? 0) ? cell : top,
    );
    return say(
      paint.warn('≈'),
      `MEASURED  most recovers ${best.patch === 'none' ? `${best.history} history, ${best.kernel} kernel` : best.patch}: R ${recoveryText(best.horizons[0])}`,
    );
  }
  return say(paint.warn('≈'), factorVerdict(cells));
}

/** What the 2×2 says: a claim where an interval leaves no other reading, a comparison where the two do not overlap. */
function factorVerdict(cells: readonly CellSummary[]): string {
  const whole = Math.max(...cells.map(({ label }) => label.layer));
  const first = (history: string, kernel: string, layer: number) =>
    cells.find((cell) => cell.history === history && cell.kernel === kernel && cell.label.layer === layer)?.horizons[0];
  const history = first('recomputed', 'decode', whole);
  const kernel = first('cached', 'prefill', -1);
  const found = `recomputed history alone recovers R ${recoveryText(history)}, the prefill kernel alone ${recoveryText(kernel)}`;
  const [h, k] = [history?.interval ?? null, kernel?.interval ?? null];
  if (h === null || k === null) return `MEASURED  ${found}; one prompt gives no interval`;
  if (h.low >= supported) return `THE CACHE CARRIES IT  ${found}`;
  if (k.low >= supported) return `THE KERNEL MAKES IT  ${found}`;
  if (h.low > k.high) return `HISTORY MORE THAN KERNEL  ${found}`;
  return k.low > h.high ? `KERNEL MORE THAN HISTORY  ${found}` : `NEITHER ALONE  ${found}`;
}
