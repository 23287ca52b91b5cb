/** Generated text of one arm, or of both with the place where they part. */
import { finish } from './gates.ts';
import { type TerminalOptions, visible, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatCount, formatCounted } from './numbers.ts';

/** One arm's new tokens. */
export interface ArmText {
  arm: 'cached' | 'uncached';
  tokens: readonly number[];
  /** Null without a tokenizer. */
  text: string | null;
}

/** How the logits of two arms compare, step by step, and how many rows a decode step ran. */
export interface LogitsAgreement {
  /** First step at which a logit differs; null if every bit of every step is equal. */
  firstDifferent: number | null;
  decodeRows: number;
}

/** First step at which two arms pick different tokens, or one has stopped; null if they never do. */
export function firstDifference(a: readonly number[], b: readonly number[]): number | null {
  const shared = Math.min(a.length, b.length);
  for (let step = 0; step < shared; step++) if (a[step] !== b[step]) return step;
  return a.length === b.length ? null : shared;
}

/**
 * One arm: its text and nothing else. Two: both, and the verdict.
 * @param agreement of the logits, where two arms ran
 * @param tokenText text of a token, null without a tokenizer
 */
export function renderGeneration(
  arms: readonly ArmText[],
  tokenText: (token: number) => string | null,
  options: TerminalOptions,
  agreement: LogitsAgreement | null = null,
): string {
  if (arms.length === 1) return printable(arms[0]);
  const [first, second] = arms;
  const step = firstDifference(first.tokens, second.tokens);
  const lines = arms.flatMap((arm) => [arm.arm, printable(arm), '']);
  const paint = marks(options.color);
  if (step === null) {
    const found = `EQUAL  ${formatCounted(first.tokens.length, 'token')}${agreement === null ? '' : logitsText(agreement)}`;
    return finish([...lines, ...wrap(`${paint.good('=')} ${found}`, options.columns, { indent: '  ' })], options);
  }
  const picks = arms.map(({ arm, tokens }) => `${arm} ${pick(tokens[step], tokenText)}`).join(', ');
  const verdict = `TOKENS DIFFER  first at step ${formatCount(step)}: ${picks}`;
  return finish([...lines, ...wrap(`${paint.bad('✗')} ${verdict}`, options.columns, { indent: '  ' })], options);
}

/** What equal tokens leave open: whether the numbers they were chosen from are equal, too. */
function logitsText({ firstDifferent, decodeRows }: LogitsAgreement): string {
  if (firstDifferent !== null) return `; their logits are not, first at step ${formatCount(firstDifferent)}`;
  const rows = decodeRows === 1 ? '' : `: ${formatCount(decodeRows)} rows per decode step sum in recomputation's order`;
  return ` and every bit of their logits${rows}`;
}

function pick(token: number | undefined, tokenText: (token: number) => string | null): string {
  if (token === undefined) return 'has stopped';
  const text = tokenText(token);
  return text === null ? `#${token}` : visible(text, 20);
}

/** Text as it is, but for characters that steer a terminal; ids where there is no text. */
function printable({ tokens, text }: ArmText): string {
  if (text === null) return tokens.join(' ');
  return text.replaceAll(/[^\P{Control}\n\t]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) =>
    visible(character),
  );
}
