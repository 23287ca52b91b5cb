/**
 * A study as a person reads it, 80 columns: the conditions of its first setting in full, of the others a line each;
 * what explains them; the verdicts last, with the numbers that decided them.
 */
import { settingName } from '../../study/outcome/setting.ts';
import type { ConditionOutcome, ConditionResults, Measured } from '../../study/outcome/types.ts';
import type { StudyGate, StudyResult } from '../../study/run/publish.ts';
import { finish, gateFailure } from './gates.ts';
import { padLeft, padRight, type TerminalOptions, visible, visibleWords, wrap } from './layout.ts';
import { type Marks, marks } from './marks.ts';
import { formatCount, formatCounted, formatPercent, formatValue } from './numbers.ts';
import { falsificationLines, predictionLines, profileLines, recoveryLines } from './study-measures.ts';
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

const nameWidth = 24;

/** One line for each condition: accuracy, discordant pairs, texts, flips. */
function familyLines({ name, conditions }: Family, whole: boolean): string[] {
  if (!whole || conditions.length === 0) return [];
  const columnsOf = (cells: readonly string[]) =>
    `  ${padRight(cells[0], nameWidth)}${padLeft(cells[1], 10)}${padLeft(cells[2], 6)}  ${padRight(cells[3], 18)}${cells[4]}`;
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

/** `3/200 [0–4 %]` */
function textsOf({ divergence, prompts }: ConditionResults): string {
  return `${divergence.diverged}/${prompts} ${percentInterval(divergence.share, prompts)}`;
}

function percentInterval({ lower, upper }: Measured, n: number): string {
  return lower === null || upper === null
    ? ''
    : `[${lower === 0 ? '0' : formatPercent(lower, n)}–${formatPercent(upper, n)} %]`;
}

function otherFamilies(families: readonly Family[]): string[] {
  if (families.length === 0) return [];
  const width = Math.max(28, ...families.map(({ name }) => name.length + 2));
  const columnsOf = ([name, texts, only, flips]: readonly string[]) =>
    `  ${padRight(name, width)}${padRight(texts, 15)}${padRight(only, 10)}${flips}`.trimEnd();
  return [
    'The other settings, conditions together (each: outcomes.json)',
    columnsOf(['', 'texts diverge', 'only', 'flips / steps']),
    ...families.map(({ name, conditions }) => {
      const results = conditions.flatMap((condition) => condition.results ?? []);
      const sum = (of: (each: ConditionResults) => number) => results.reduce((total, each) => total + of(each), 0);
      if (results.length === 0) return columnsOf([name, 'void', '', '']);
      const texts = `${formatCount(sum(({ divergence }) => divergence.diverged))}/${formatCount(sum(({ prompts }) => prompts))}`;
      const only = [
        sum(({ accuracy }) => accuracy.paired?.cachedOnly ?? 0),
        sum(({ accuracy }) => accuracy.paired?.uncachedOnly ?? 0),
      ];
      const flips = `${formatCount(sum((each) => each.flips.flips))} / ${formatCount(sum(({ steps }) => steps))}`;
      return columnsOf([name, texts, only.join(' : '), flips]);
    }),
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
  const lines = found.flatMap(({ condition, results }) => {
    const { suspects, suspectAbove, notExplained } = results?.firstDivergence ?? {};
    const { withoutPlacebo = 0, withinPlacebo = 0 } = notExplained ?? {};
    const why = [
      ...(withoutPlacebo > 0 ? [`${formatCount(withoutPlacebo)} not explained: no placebo of their own`] : []),
      ...(withinPlacebo > 0 ? [`${formatCount(withinPlacebo)} not explained: their own placebo leans as far`] : []),
    ];
    const line = `${visibleWords(condition)}  ${suspects} wider than ${formatValue(suspectAbove ?? Number.NaN)}`;
    return wrap([line, ...why].join('; '), columns, { first: '  ', indent: '    ' });
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
