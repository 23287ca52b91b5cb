/**
 * A study as a person reads it, 80 columns: the conditions of its first setting in full, of the others a line each;
 * what explains them; the verdicts last, with the numbers that decided them.
 */
import { settingName } from '../../study/outcome/setting.ts';
import type { ConditionOutcome, ConditionResults, Measured, StudyOutcome } from '../../study/outcome/types.ts';
import type { StudyGate, StudyResult } from '../../study/run/publish.ts';
import { finish, gateFailure } from './gates.ts';
import { padLeft, padRight, type TerminalOptions, visible, wrap } from './layout.ts';
import { type Marks, marks } from './marks.ts';
import { formatCount, formatCounted, formatPercent, formatValue } from './numbers.ts';
import { verdictLines } from './study-verdicts.ts';

export interface StudyText extends TerminalOptions {
  /** Where the run's files are. */
  run: string;
}

/** Conditions of one setting. */
export interface Family {
  /** Of the setting. */
  name: string;
  conditions: ConditionOutcome[];
}

const widest = 80;

/** Lay out a study, or one shard of it. */
export function renderStudy(result: StudyResult, options: StudyText): string {
  const columns = Math.min(options.columns, widest);
  const paint = marks(options.color);
  const { outcome, units, shard } = result;
  if (outcome === null) return finish(shardLines(result, options), options);
  const { conditions } = outcome;
  const head = [
    `study ${visibleWords(result.name)}  ${formatCounted(conditions.length, 'condition')}, ${formatCounted(units, 'unit')}`,
    ...wrap(outcome.machine, columns, { first: '  ', indent: '  ' }),
  ];
  const families = familiesOf(conditions);
  const blocks = [
    head,
    ...families.slice(0, 1).map((family) => familyLines(family, shard === null)),
    otherFamilies(families.slice(1)),
    predictionLines(families),
    falsificationLines(outcome),
    profileLines(outcome),
    recoveryLines(families),
    checkLines(conditions),
    suspectLines(result, columns),
    gateBlock(result.gates, columns, paint),
    verdictLines(outcome, families, columns, paint),
    [`  look           ${options.run}`],
  ];
  const lines = blocks.filter((block) => block.length > 0).flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return finish(lines, options);
}

/** Conditions by setting, in the order in which they first appear. */
export function familiesOf(conditions: readonly ConditionOutcome[]): Family[] {
  const families = new Map<string, ConditionOutcome[]>();
  for (const condition of conditions) {
    const name = settingName(condition);
    families.set(name, [...(families.get(name) ?? []), condition]);
  }
  return [...families].map(([name, own]) => ({ name, conditions: own }));
}

function shardLines({ name, shard, units, gates }: StudyResult, { run, color, columns }: StudyText): string[] {
  const part = shard === null ? '' : `shard ${shard.index} of ${shard.of}`;
  return [
    `study ${visibleWords(name)}  ${part}, ${formatCounted(units, 'unit')}`,
    ...gateBlock(gates, Math.min(columns, widest), marks(color)),
    `  look           ${run}`,
    '  verdicts       kvlens study --merge and the folders of all shards',
  ];
}

const nameWidth = 27;

/** One line for each condition: accuracy, discordant pairs, texts, flips. */
function familyLines({ name, conditions }: Family, whole: boolean): string[] {
  if (!whole || conditions.length === 0) return [];
  const columnsOf = (cells: readonly string[]) =>
    `  ${padRight(cells[0], nameWidth)}${padLeft(cells[1], 11)}${padLeft(cells[2], 7)}  ${padRight(cells[3], 18)}${cells[4]}`;
  return [
    `${name}    right: cached / uncached; only: one arm alone is right`,
    columnsOf(['', 'right', 'only', 'texts diverge', 'flips / steps']),
    ...conditions.map((condition) => {
      const { results } = condition;
      const label = labelOf(condition);
      if (results === null) return columnsOf([label, 'void', '', '', `gate ${condition.failedGates.join(', ')}`]);
      const { accuracy, flips, steps } = results;
      const right = accuracy.arms.filter(({ arm }) => arm !== 'order-matched').map((arm) => formatCount(arm.right));
      const { paired } = accuracy;
      return columnsOf([
        label,
        right.length === 2 ? right.join(' / ') : '–',
        paired === null ? '–' : `${paired.cachedOnly} : ${paired.uncachedOnly}`,
        textsOf(results),
        `${formatCount(flips.flips)} / ${formatCount(steps)}${flips.ties > 0 ? `, ${formatCounted(flips.ties, 'tie')}` : ''}`,
      ]);
    }),
  ];
}

function labelOf({ model, strategy }: ConditionOutcome): string {
  return visibleWords(`${model} ${strategy}`);
}

/** Names as they may be printed, their spaces kept. */
export function visibleWords(text: string): string {
  return text
    .split(' ')
    .map((word) => visible(word))
    .join(' ');
}

/** `3/200 [0–4 %]` */
function textsOf({ divergence, prompts }: ConditionResults): string {
  return `${divergence.diverged}/${prompts} ${percentInterval(divergence.share, prompts)}`;
}

function percentInterval({ lower, upper }: Measured, n: number): string {
  return lower === null || upper === null ? '' : `[${formatPercent(lower, n)}–${formatPercent(upper, n)} %]`;
}

/** `0.83 [0.74–0.89]` */
export function interval({ value, lower, upper }: Measured): string {
  if (lower === null || upper === null) return decimal(value);
  return `${decimal(value)} [${decimal(lower)}–${decimal(upper)}]`;
}

export function decimal(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) < 0.005 ? formatValue(value) : value.toFixed(2).replace('-', '−');
}

function otherFamilies(families: readonly Family[]): string[] {
  if (families.length === 0) return [];
  const width = Math.max(28, ...families.map(({ name }) => name.length + 1));
  return [
    'The other settings, conditions together (each: outcomes.json)',
    ...families.map(({ name, conditions }) => {
      const results = conditions.flatMap((condition) => condition.results ?? []);
      const sum = (of: (each: ConditionResults) => number) => results.reduce((total, each) => total + of(each), 0);
      if (results.length === 0) return `  ${padRight(name, width)}void`;
      const texts = `${formatCount(sum(({ divergence }) => divergence.diverged))}/${formatCount(sum(({ prompts }) => prompts))}`;
      const only = [
        sum(({ accuracy }) => accuracy.paired?.cachedOnly ?? 0),
        sum(({ accuracy }) => accuracy.paired?.uncachedOnly ?? 0),
      ];
      const flips = `${formatCount(sum((each) => each.flips.flips))} / ${formatCount(sum(({ steps }) => steps))}`;
      return `  ${padRight(name, width)}${padRight(`texts ${texts}`, 19)}${padRight(`only ${only.join(' : ')}`, 13)}flips ${flips}`;
    }),
  ];
}

/** Do drift and margins say how many flips there are? Greedy conditions that have some. */
function predictionLines(families: readonly Family[]): string[] {
  const lines = families.flatMap(({ name, conditions }) =>
    conditions.flatMap(({ results, model }) => {
      const found = results?.prediction;
      if (found?.kind !== 'greedy' || found.observed === 0) return [];
      const auc = found.auc === null ? '' : `, AUC ${decimal(found.auc)}`;
      const text = `${formatCount(found.observed)} flips, ${formatValue(found.predicted)} predicted${auc}`;
      return [`  ${padRight(`${name} ${visibleWords(model)}`, 40)}${text}`];
    }),
  );
  return lines.length === 0
    ? []
    : ['Flips, greedy: observed, and predicted from margins and drift elsewhere', ...lines];
}

function falsificationLines({ falsification }: StudyOutcome): string[] {
  if (falsification.length === 0) return [];
  return [
    'Precision: decades that the drift shrinks in single precision',
    `  ${padRight('', 40)}${padRight('L2, linear', 18)}KL, quadratic`,
    ...falsification.map((found) => {
      const { model, l2, kl, predicted } = found;
      const shown = (decades: Measured | null, line: number) =>
        decades === null ? `∅ (${line.toFixed(1)})` : `${decades.value.toFixed(1)} (${line.toFixed(1)})`;
      const name = `${settingName(found)} ${visibleWords(model)}`;
      return `  ${padRight(name, 40)}${padRight(shown(l2, predicted.linear), 18)}${shown(kl, predicted.quadratic)}`;
    }),
    '  in brackets what the ratio of the roundoffs predicts; ∅: single precision does not differ',
  ];
}

function profileLines({ profiles }: StudyOutcome): string[] {
  const lines = profiles.flatMap((profile) => {
    const { model, sharpness, unevenness } = profile;
    if (sharpness === null || unevenness === null) return [];
    const name = `${settingName(profile)} ${visibleWords(model)}`;
    return [`  ${padRight(name, 40)}${padRight(interval(sharpness), 18)}${interval(unevenness)}`];
  });
  if (lines.length === 0) return [];
  return [
    'Layers: error that each adds; S = first, U = largest over the median',
    `  ${padRight('', 40)}${padRight('S', 18)}U`,
    ...lines,
  ];
}

/** What recomputed history and the residual patch bring back. */
function recoveryLines(families: readonly Family[]): string[] {
  const lines = families.flatMap(({ name, conditions }) =>
    conditions.flatMap(({ results, model }) => {
      const at = (spec: string, history: string, horizon: number) =>
        results?.cells.find(
          (cell) =>
            cell.spec === spec && cell.history === history && cell.kernel === 'decode' && cell.horizon === horizon,
        )?.recovery ?? null;
      const history = at('two-by-two', 'recomputed', 0);
      const residual = at('residual', 'cached', 1);
      if (history === null && residual === null) return [];
      const shown = (found: Measured | null) => (found === null ? '∅' : interval(found));
      return [`  ${padRight(`${name} ${visibleWords(model)}`, 40)}${padRight(shown(history), 18)}${shown(residual)}`];
    }),
  );
  if (lines.length === 0) return [];
  return [
    'Recovery R: recomputed history, at its step; residual patch, a step later',
    `  ${padRight('', 40)}${padRight('history', 18)}residual`,
    ...lines,
  ];
}

/** Order-matched decoding and honest recomputation, over everything. */
function checkLines(conditions: readonly ConditionOutcome[]): string[] {
  const results = conditions.flatMap((condition) => condition.results ?? []);
  const sum = (of: (each: ConditionResults) => number) => results.reduce((total, each) => total + of(each), 0);
  const matched = sum((each) => each.orderMatched?.steps ?? 0);
  const lines = [];
  if (matched > 0) {
    const differing = sum((each) => each.orderMatched?.differingElements ?? 0);
    lines.push(
      `  order-matched  ${formatCount(differing)} elements differ in ${formatCount(matched)} steps, the cache in use`,
    );
  }
  const checked = sum(({ uncached }) => uncached.checked);
  if (checked > 0) {
    const failed = sum(({ uncached }) => uncached.failed);
    lines.push(
      `  recomputed     ${formatCount(checked)} uncached steps the honest way, ${formatCount(failed)} differed`,
    );
  }
  return lines.length === 0 ? [] : ['Checks', ...lines];
}

function suspectLines({ outcome, explained }: StudyResult, columns: number): string[] {
  const found = (outcome?.conditions ?? []).filter(({ results }) => (results?.firstDivergence.suspects ?? 0) > 0);
  const planted = (outcome?.conditions ?? []).reduce((sum, { results }) => sum + (results?.planted ?? 0), 0);
  if (found.length === 0 && explained.length === 0 && planted === 0) return [];
  const lines = found.map(({ condition, results }) => {
    const { suspects, suspectAbove } = results?.firstDivergence ?? {};
    return `  ${visibleWords(condition)}  ${suspects} wider than ${formatValue(suspectAbove ?? Number.NaN)}`;
  });
  const most = 8;
  const causes = explained.slice(0, most).flatMap(({ condition, prompt, step, cause, verdict }) =>
    wrap(
      `${visibleWords(condition)}, prompt ${visible(prompt, 24)}, step ${step}: ${cause} (rule ${verdict})`,
      columns,
      {
        first: '  ',
        indent: '    ',
      },
    ),
  );
  const rest = explained.length > most ? [`  … ${formatCount(explained.length - most)} more in outcomes.json`] : [];
  return [
    `Suspect first flips: wider than rounding explains${planted > 0 ? `; PLANTED FAULTS in ${formatCounted(planted, 'unit')}` : ''}`,
    ...lines,
    ...causes,
    ...rest,
  ];
}

function gateBlock(gates: readonly StudyGate[], columns: number, paint: Marks): string[] {
  const failed = gates.filter(({ passed }) => !passed);
  const groups = new Set(gates.map(({ group }) => group)).size;
  const held = gates.filter(({ status }) => status === 'passed').length;
  const first = `Gates   ${failed.length === 0 ? paint.good('✓') : paint.bad('✗')} ${formatCount(held)} held in ${formatCounted(groups, 'group')} of model, precision and kernels`;
  const lines = failed.flatMap((gate) =>
    wrap(`${paint.bad('✗')} ${visibleWords(gate.group)}: ${gateFailure(gate)}`, columns, {
      first: '        ',
      indent: '          ',
    }),
  );
  return [first, ...lines];
}
