/**
 * A patch run as a person reads it, 80 columns: the 2×2 or the list of cells with recovery by horizon, grids as a map of
 * layers, then the gates and the answer last. A cache is said to carry a difference only after a 2×2.
 */
import type { CellSummary, HorizonSummary, PatchSummary } from '../../patching/summary.ts';
import { failedHarnessGates, finish, gateFailure, gateLines } from './gates.ts';
import { displayWidth, padLeft, padRight, type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatValue } from './numbers.ts';

export interface PatchText extends TerminalOptions {
  /** Where the run's files are. */
  run: string;
}

/** Lay out a summary. */
export function renderPatch(summary: PatchSummary, options: PatchText): string {
  const { columns, color } = options;
  const head = headLines(summary, columns);
  if (!summary.valid) return finish([...head, '', ...notValid(summary, options)], options);
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

function headLines(summary: PatchSummary, columns: number): string[] {
  const { model, spec, precision, strategy, kernels, decodeRows, prompts, patchedSteps } = summary;
  const condition = [precision, strategy, kernels, ...(decodeRows > 1 ? [`decode-rows ${decodeRows}`] : [])].join(', ');
  const left = `${model}  ${spec.name}  ${condition}`;
  const right = `${formatCounted(prompts, 'prompt')}, ${formatCounted(patchedSteps, 'patched step')}`;
  const gap = Math.min(columns, 80) - 1 - displayWidth(left) - displayWidth(right);
  const first = gap >= 2 ? [left + ' '.repeat(gap) + right] : [left, `  ${right}`];
  return spec.description === undefined
    ? first
    : [...first, ...wrap(spec.description, columns, { first: '  ', indent: '  ' })];
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
  lines.push('  R = 0: as far as the cached arm; R = 1: as the uncached one; = not one bit differs');
  return lines;
}

function at(cell: CellSummary | undefined, horizon: number): HorizonSummary | undefined {
  return cell?.horizons.find((one) => one.horizon === horizon);
}

/** `0.31 [0.22–0.40]`, `1 =`, `∅`. */
function recoveryText(found: HorizonSummary | undefined, isBase = false): string {
  if (found === undefined || found.count === 0) return '–';
  if (isBase) return '0 (the cached arm)';
  if (found.recovery === null) return found.harmful > 0 ? 'harmful' : '∅ nothing to recover';
  const mark = found.exact === found.count ? ' =' : '';
  const forced = found.byConstruction === found.count ? ' ○' : '';
  const interval =
    found.interval === null || mark !== '' ? '' : ` [${shown(found.interval.low)}–${shown(found.interval.high)}]`;
  return `${shown(found.recovery)}${mark}${forced}${interval}`;
}

/** R to two decimals; exactly 0 and 1 are bare. */
function shown(value: number): string {
  if (value === 0 || value === 1) return String(value);
  if (Math.abs(value) >= 10) return formatValue(value);
  const text = Math.abs(value).toFixed(2);
  if (text === '1.00' && value < 1 && value > 0) return '> 0.99';
  if (text === '0.00') return value < 0 ? '−0.00' : '0.00';
  return value < 0 ? `−${text}` : text;
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

function shortText(found: HorizonSummary | undefined): string {
  if (found === undefined || found.count === 0) return '–';
  if (found.recovery === null) return found.harmful > 0 ? 'harmful' : '∅';
  const mark = `${found.exact === found.count ? ' =' : ''}${found.byConstruction === found.count ? ' ○' : ''}`;
  return shown(found.recovery) + mark;
}

function intervalText(found: HorizonSummary | undefined): string {
  if (!found?.interval || found.exact === found.count) return '';
  return `${shown(found.interval.low)}–${shown(found.interval.high)}`;
}

const bars = '▁▂▃▄▅▆▇█';
/** Columns of a map before they are binned. */
const mapColumns = 48;

/** Layers (or one line) down, heads, hooks or ages across: R at the first horizon. */
function gridLines({ cells, spec }: PatchSummary, columns: number): string[] {
  const [horizon] = [...spec.measure.horizons].toSorted((a, b) => a - b);
  const byLayer = spec.grid?.includes('layer') ?? false;
  const label = ({ label: { layer, component }, kernel, history }: CellSummary) =>
    [
      byLayer ? `L${layer}` : 'all',
      component === 'value' ? '' : component,
      kernel === 'prefill' ? 'prefill' : '',
      history === 'recomputed' ? 'rec.' : '',
    ]
      .filter((text) => text !== '')
      .join(' ');
  const rows = new Map<string, CellSummary[]>();
  for (const cell of cells) rows.set(label(cell), [...(rows.get(label(cell)) ?? []), cell]);
  const across = acrossName(cells);
  const lines = [
    `Recovery R of single cells at ${horizon === 0 ? 'the patched step' : `+${horizon}`}, ${across} across`,
  ];
  for (const [name, group] of rows) {
    const found = group.toSorted((a, b) => (a.age ?? 0) - (b.age ?? 0));
    const chart = binned(
      found.map((cell) => at(cell, horizon)),
      Math.min(mapColumns, columns - 32),
    ).join('');
    const best = found.reduce<CellSummary | null>(
      (top, cell) => (recoveryOf(cell, horizon) > recoveryOf(top, horizon) ? cell : top),
      null,
    );
    lines.push(
      `  ${padRight(name, 14)}${chart}  ${best === null ? 'nothing to recover' : `max ${shown(recoveryOf(best, horizon))}${placeOf(best)}`}`,
    );
  }
  lines.push('  scale   · 0: changes nothing or recovers nothing   ▁ ≤ 0.125 … █ ≤ 1   ▾ < 0   ∅ vacuous');
  return lines;
}

function recoveryOf(cell: CellSummary | null, horizon: number): number {
  return (cell === null ? null : at(cell, horizon)?.recovery) ?? Number.NEGATIVE_INFINITY;
}

function acrossName(cells: readonly CellSummary[]): string {
  if (cells.some(({ age }) => age !== null)) return 'positions from the newest back';
  if (cells.some(({ label }) => label.head !== null)) return 'heads';
  return cells.some(({ label }) => label.component === 'value') ? 'hooks in the order of the spec' : 'one cell';
}

function placeOf({ age, label: { head, hook, component } }: CellSummary): string {
  if (age !== null) return ` at −${age + 1}`;
  if (head !== null) return ` at head ${head}`;
  return component === 'value' ? ` at ${hook.replace(/^blocks\.\d+\.(hook_)?/, '')}` : '';
}

/** One glyph per column; a bin shows its largest recovery, so that nothing is hidden. */
function binned(cells: readonly (HorizonSummary | undefined)[], most: number): string[] {
  const size = Math.ceil(cells.length / most);
  return Array.from({ length: Math.ceil(cells.length / size) }, (_, i) => {
    const bin = cells.slice(i * size, (i + 1) * size).filter((cell) => cell !== undefined && cell.count > 0);
    if (bin.length === 0) return ' ';
    const values = bin.map((cell) => cell?.recovery ?? null).filter((value) => value !== null);
    if (values.length === 0) return '∅';
    return glyph(values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)));
  });
}

function glyph(value: number): string {
  if (Number.isNaN(value)) return '×';
  if (value === 0) return '·';
  if (value < 0) return '▾';
  return bars[Math.min(bars.length - 1, Math.ceil(value * bars.length) - 1)];
}

/** The parts of the history with the largest shares. */
function partLines({ parts }: PatchSummary): string[] {
  if (parts.length === 0) return [];
  const most = parts.toSorted((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 8);
  const rest = parts.length - most.length;
  return [
    'Shapley share of what the whole history removes',
    ...most.map(
      ({ part, share, value }) =>
        `  ${padRight(part, 22)}${padLeft(share === null ? '∅' : shown(share), 8)}   ${formatValue(value)}`,
    ),
    ...(rest > 0 ? [`  … ${formatCount(rest)} more`] : []),
  ];
}

function noteLines({ cells }: PatchSummary, columns: number): string[] {
  const lines: string[] = [];
  const say = (text: string) => lines.push(...wrap(text, columns, { first: '  ', indent: '    ' }));
  const firsts = cells.map(({ horizons }) => horizons[0]).filter((found) => found !== undefined);
  const forced = firsts.filter(({ byConstruction, count }) => count > 0 && byConstruction === count).length;
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
  if (unchanged > 0) say(`changes nothing: ${formatCount(unchanged)} patches wrote what was there`);
  const flips = Math.max(0, ...cells.map(({ tokens }) => tokens.flips));
  if (flips > 0) {
    const best = cells.reduce((top, cell) => (cell.tokens.returned > top.tokens.returned ? cell : top));
    say(
      `tokens: ${formatCounted(flips, 'patched step')} had flipped; at most ${formatCount(best.tokens.returned)} return (${best.history} ${best.kernel}, ${best.patch})`,
    );
  }
  return lines;
}

function verdictLines(summary: PatchSummary, { color, columns }: PatchText): string[] {
  const paint = marks(color);
  const say = (mark: string, text: string) => wrap(`${mark} ${text}`, columns, { indent: '  ' });
  const { cells } = summary;
  const first = cells[0]?.horizons[0];
  const base = cells.reduce((sum, { horizons }) => sum + (horizons[0]?.distanceBase ?? 0), 0);
  if (first === undefined) return say(paint.warn('≈'), 'NOTHING WAS PATCHED');
  if (base === 0)
    return say(paint.good('='), 'VACUOUS  the arms are equal at every patched step: there is nothing to recover');
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
  const whole = Math.max(...cells.map(({ label }) => label.layer));
  const history = cells.find(
    (cell) => cell.history === 'recomputed' && cell.kernel === 'decode' && cell.label.layer === whole,
  )?.horizons[0];
  const kernel = cells.find((cell) => cell.history === 'cached' && cell.kernel === 'prefill')?.horizons[0];
  const [h, k] = [recoveryText(history), recoveryText(kernel)];
  const mark = paint.warn('≈');
  if ((history?.interval?.low ?? -1) >= 0.8)
    return say(mark, `THE CACHE CARRIES IT  recomputed history alone recovers R ${h}; the prefill kernel alone ${k}`);
  if ((kernel?.interval?.low ?? -1) >= 0.8)
    return say(mark, `THE KERNEL MAKES IT  the prefill kernel alone recovers R ${k}; recomputed history alone ${h}`);
  return say(mark, `NEITHER ALONE  recomputed history recovers R ${h}, the prefill kernel ${k}`);
}

function notValid({ gates }: PatchSummary, { color, columns, run }: PatchText): string[] {
  const paint = marks(color);
  const [first, ...others] = failedHarnessGates(gates);
  return [
    ...wrap(`${paint.bad('!')} NOT VALID  ${gateFailure(first)}`, columns, { indent: '  ' }),
    ...others.flatMap((gate) => wrap(`also ${gateFailure(gate)}`, columns, { first: '  ', indent: '  ' })),
    ...wrap(`No result is reported. See ${run}/controls.json.`, columns, { first: '  ', indent: '  ' }),
  ];
}
