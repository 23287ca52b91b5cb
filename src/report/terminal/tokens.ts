/** What reached the text: flip rates with intervals, texts that part, distances of the logits, the widest flips. */
import type { DivergenceSummary, FlipRow } from '../../divergence/summary.ts';
import { padLeft, padRight, visible } from './layout.ts';
import { formatCount, formatValue } from './numbers.ts';
import { stepRate, textRate } from './rates.ts';

/** The `Tokens` block. */
export function tokenLines(summary: DivergenceSummary): string[] {
  const { flips, steps, tieFlips, divergedPrompts, prompts, firstFlipSteps } = summary;
  const ties = tieFlips === 1 ? '1 is an exact tie in one arm' : `${formatCount(tieFlips)} are exact ties in one arm`;
  return [
    'Tokens',
    row(
      'flips',
      `${formatCount(flips)} / ${formatCount(steps)} steps`,
      stepRate(flips, steps),
      tieFlips > 0 ? ties : '',
    ),
    row(
      'texts',
      `${formatCount(divergedPrompts)} / ${formatCount(prompts)}`,
      textRate(divergedPrompts, prompts),
      firstFlipSteps.length === 0 ? '' : firstSteps(firstFlipSteps),
    ),
    logitsLine(summary),
    ...flipTable(summary),
  ];
}

function firstSteps(ascending: readonly number[]): string {
  const middle = (ascending.length - 1) / 2;
  const median = (ascending[Math.floor(middle)] + ascending[Math.ceil(middle)]) / 2;
  return `first at ${formatCount(ascending[0])}, median ${formatCount(median)}`;
}

function row(label: string, count: string, rate: string, note: string): string {
  return `  ${padRight(label, 8)}${padRight(count, 20)}${note === '' ? rate : padRight(`${rate}  `, 23)}${note}`.trimEnd();
}

function logitsLine({ kl, tv, l2, oracle }: DivergenceSummary): string {
  const errors =
    oracle === null
      ? ''
      : `   (to fp64: cached ${formatValue(oracle.cached)}, uncached ${formatValue(oracle.uncached)})`;
  return `  logits  KL ${formatValue(kl)}  TV ${formatValue(tv)}  L2 ${formatValue(l2)}${errors}`;
}

function flipTable({ widestFlips, flips }: DivergenceSummary): string[] {
  if (widestFlips.length === 0) return [];
  const header = `  prompt  step  uncached  cached     margin u  margin c   ${formatCount(widestFlips.length)} widest of ${formatCount(flips)}`;
  return ['', header, ...widestFlips.map(flipLine)];
}

function flipLine({ promptIndex, step, uncached, cached }: FlipRow): string {
  const name = ({ token, text }: FlipRow['cached'], width: number) =>
    padRight(text === null ? `#${token}` : visible(text, width - 1), width);
  const margin = (side: FlipRow['cached']) => padLeft(side.tie ? '0 (tie)' : formatValue(side.margin), 8);
  const place = `  ${padLeft(String(promptIndex), 6)}${padLeft(String(step), 6)}`;
  return `${place}  ${name(uncached, 10)}${name(cached, 11)}${margin(uncached)}  ${margin(cached)}`;
}
