/** One screen for one explained step: at most 24 lines of 80 columns, the verdict last. */
import type { Origin } from '../../divergence/summary.ts';
import type { ExplainedArm, ExplainedStep, Explanation, TokenText } from '../../patching/explain/index.ts';
import { decidedByMargin, stateWords } from '../../patching/explain/index.ts';
import { finish } from './gates.ts';
import { displayWidth, padLeft, padRight, type TerminalOptions, visible, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted, formatValue } from './numbers.ts';

const indent = ' '.repeat(14);
/** A screen is this wide, however wide the terminal. */
const width = 80;
const height = 24;

/** Lay out an explanation. */
export function renderExplanation({ verdict, step }: Explanation, options: TerminalOptions): string {
  const paint = marks(options.color);
  const columns = Math.min(options.columns, width);
  const mark = { equal: paint.good('='), 'state-bug': paint.bad('✗'), harness: paint.bad('!') }[
    verdict.cause as string
  ];
  const name = verdict.cause.replaceAll('-', ' ').toUpperCase();
  const judged = [
    ...wrap(`${mark ?? paint.warn('≈')} ${name}  ${verdict.sentence}`, columns, { indent: '  ' }),
    field('rule', verdict.rule),
  ];
  if (step === null) return finish(['Explanation', ...judged], options);
  const { reproduction } = step;
  const files =
    reproduction.folder === null
      ? wrap(`none: ${reproduction.what}`, columns, { first: label('reproduce'), indent })
      : wrap(`node ${reproduction.folder}/reproduce.mjs`, columns, { first: label('reproduce'), indent });
  const later =
    step.later === null ? [] : wrap(`state bug: ${stateWords(step.later)}`, columns, { first: label('later'), indent });
  const judgement = [...judged, ...later, ...files];
  return finish([heading(step), ...evidence(step, columns, height - 1 - judgement.length), ...judgement], options);
}

function heading({ promptIndex, step, flip, state }: ExplainedStep): string {
  const other = state === null ? 'the first step that differs' : 'the first whose state is wrong';
  const what = flip ? 'the arms choose different tokens' : `no flip; ${other}`;
  return `Explanation   prompt ${promptIndex}, step ${step}: ${what}`;
}

/** The measurements; the least telling are left out where there are too many lines. */
function evidence(step: ExplainedStep, columns: number, room: number): string[] {
  const { drift, orderMatched, firstOrigin, stepOrigin } = step;
  const pair = drift.pair === null ? '' : `; the two tokens move ${formatValue(drift.pair)} apart`;
  const differ = orderMatched.exact ? '0' : formatCount(orderMatched.differ);
  const blocks: { lines: string[]; rank: number }[] = [
    { rank: 4, lines: [field('context', contextText(step.context, columns - indent.length))] },
    { rank: 9, lines: [...armLines('uncached', step.uncached, columns), ...armLines('cached', step.cached, columns)] },
    { rank: 5, lines: [field('drift', `L2 ${formatValue(drift.l2)}, max |Δz| ${formatValue(drift.maxAbs)}${pair}`)] },
    { rank: 3, lines: wrap(predictedText(step), columns, { first: label('predicted'), indent }) },
    { rank: 8, lines: originLines('starts', firstOrigin, columns) },
    {
      rank: 2,
      lines: stepOrigin?.step === firstOrigin?.step ? [] : originLines('this step', stepOrigin, columns),
    },
    { rank: 7, lines: cellLines(step) },
    {
      rank: 6,
      lines: [
        field('two rows', `order-matched, same state: ${differ} of ${formatCount(orderMatched.elements)} differ`),
      ],
    },
    { rank: 1, lines: [''] },
  ];
  for (let rank = 1; count(blocks) > room && rank < 9; rank++) {
    const least = blocks.findIndex((block) => block.rank === rank);
    blocks.splice(least, 1);
  }
  return blocks.flatMap(({ lines }) => lines);
}

function count(blocks: readonly { lines: string[] }[]): number {
  return blocks.reduce((total, { lines }) => total + lines.length, 0);
}

/** The newest tokens, cut at the left where they do not fit. */
function contextText(context: readonly TokenText[], room: number): string {
  const parts = context.map(tokenText);
  const separator = context.some(({ text }) => text === null) ? ' ' : '';
  let from = 0;
  while (from < parts.length - 1 && displayWidth(`…${parts.slice(from).join(separator)}`) > room) from += 1;
  return `${from > 0 ? '…' : ''}${parts.slice(from).join(separator)}`;
}

function tokenText({ token, text }: TokenText): string {
  return text === null ? `#${token}` : visible(text, 14);
}

function armLines(name: string, arm: ExplainedArm, columns: number): string[] {
  const lead = arm.tie ? 'exact tie' : `margin ${formatValue(arm.margin)}`;
  const head = `${padRight(tokenText(arm), 10)} ${padRight(lead, 16)}`;
  let line = label(name) + head;
  for (const { logit, ...token } of arm.top) {
    const part = `  ${tokenText(token)} ${logit.toPrecision(5)}`;
    if (displayWidth(line + part) > columns) break;
    line += part;
  }
  return [line.trimEnd()];
}

function predictedText({ predicted, uncached, cached }: ExplainedStep): string {
  if (predicted === null) return 'nothing: there is no other step to predict from';
  const { sigma, largest, steps, prompts, from, inside } = predicted;
  const source =
    from === 'other prompts'
      ? `${formatCounted(steps, 'step')} of ${formatCounted(prompts, 'other prompt')}`
      : `${formatCounted(steps, 'other step')} of this prompt`;
  const margin = inside ? 'the margin is inside' : 'the margin is larger';
  const verdict = decidedByMargin({ uncached, cached }) ? margin : 'a draw decides, not the margin';
  return `σ ${formatValue(sigma)} between two tokens, at most ${formatValue(largest)} (${source}): ${verdict}`;
}

function originLines(name: string, origin: Origin | null, columns: number): string[] {
  if (origin === null) return [field(name, 'in no operation whose inputs are equal')];
  const head = origin.head === null ? '' : `, head ${origin.head}`;
  const count = `${formatCount(origin.nDiffer)} of ${formatCount(origin.nElements)} elements`;
  // Rows of earlier steps that differ are no operation of this one, unless it is the first.
  const history = name === 'this step' && origin.hook.includes('.hook_cache_');
  const what = history ? `reads a history that differs, block ${origin.layer}` : origin.operation;
  return wrap(`step ${origin.step}, ${what}${head}: ${count}`, columns, { first: label(name), indent });
}

function cellLines({ cells }: ExplainedStep): string[] {
  const rows = cells.map(({ history, kernel, l2, exact, ...token }) => {
    const distance = exact ? '0, exact' : formatValue(l2);
    return `${padRight(history, 12)}${padRight(kernel, 9)}${padLeft(distance, 9)}   ${tokenText(token)}`;
  });
  return [
    field('2×2', `${padRight('history', 12)}${padRight('kernel', 9)}${padLeft('L2', 9)}   token`),
    ...rows.map((row) => indent + row),
  ];
}

function label(name: string): string {
  return `  ${padRight(name, indent.length - 2)}`;
}

function field(name: string, text: string): string {
  return label(name) + text;
}
