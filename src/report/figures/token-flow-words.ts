/** What the texts of both arms show, in words. */
import { shortNames } from '../data/conditions.ts';
import { type FlowArm, leastAgain, type TokenFlow } from '../data/token-flow.ts';
import { formatCount, formatCounted, formatValue } from '../terminal/numbers.ts';
import { tokenText } from '../visible.ts';
import { shownName } from './plot.ts';

/** A token as it is shown in a text, and beside a bar. */
export const mostCharacters = { text: 24, bar: 12 } as const;

/** `Prompt 6 parts at token 28 – on an exact tie` */
export function flowTitle({ prompt, promptIndex, arms, flip }: TokenFlow): string {
  const which = promptIndex === null ? `Prompt ${shownName(prompt, 16)}` : `Prompt ${formatCount(promptIndex)}`;
  if (flip === null) return `${which}: both arms write the same ${formatCounted(arms.uncached.length, 'token')}`;
  const why = flip.tie
    ? ' – on an exact tie'
    : flip.margin === null
      ? ''
      : ` – at a margin of ${marginText(flip.margin)}`;
  return `${which} parts at token ${formatCount(flip.step)}${why}`;
}

/** A sampled choice may lead by exactly 0, which is no tie of logits. */
const marginText = (margin: number) => (margin === 0 ? 'exactly 0' : formatValue(margin));

export function flowSubtitle(data: TokenFlow): string {
  const { condition, arms, flip } = data;
  const conditionName = shortNames([condition]).get(condition.condition) ?? '';
  const name = [condition.model, conditionName, condition.strategy].map((part) => shownName(part)).join(', ');
  const lengths = `${formatCounted(arms.uncached.length, 'token')} uncached, ${formatCount(arms.cached.length)} cached`;
  const head = `${name}: each arm reads its own text (${lengths}; token 0 is the one the prefill decides).`;
  if (flip === null) return head;
  const again = arms.uncached.filter((token) => token.again !== null).length;
  const agreed =
    again === 0
      ? `No run of ${leastAgain} tokens after it is in both texts.`
      : `Underlined: runs of at least ${leastAgain} tokens that both write again, ${formatCounted(again, 'token')}.`;
  return `${head} Boxed: the first token that differs. Grey: after it. ${agreed}`;
}

/** What the arms write at the flip: `uncached ␣a, cached ␣the`. */
export function flipWords({ arms, flip }: TokenFlow): string {
  if (flip === null) return '';
  const word = (arm: FlowArm) => `${arm} ${shownToken(arms[arm][flip.step].text)}`;
  return `At token ${formatCount(flip.step)}: ${word('uncached')}, ${word('cached')}.`;
}

/** A token of a text: blanks visible, nothing that steers the reader's eye. */
export function shownToken(text: string, where: keyof typeof mostCharacters = 'text'): string {
  return tokenText(text, mostCharacters[where]);
}

/** Four decimals tell the leading tokens of a narrow margin apart. */
export function probabilityText(probability: number): string {
  if (Number.isNaN(probability)) return '×';
  if (probability > 0 && probability < 0.0001) return '< 0.0001';
  return probability === 0 || probability === 1 ? String(probability) : probability.toFixed(4);
}
