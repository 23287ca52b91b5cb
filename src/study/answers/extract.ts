/**
 * The answer a text gives, and whether it is right, as lm-evaluation-harness's task `gsm8k` judges them.
 * Source: EleutherAI/lm-evaluation-harness, lm_eval/tasks/gsm8k/gsm8k.yaml (version 3.0: filters `strict-match` and
 * `flexible-extract`, metric `exact_match`), lm_eval/filters/extraction.py, lm_eval/api/metrics.py.
 */

/** `strict`: the first number after `#### `. `flexible`: the last number of the text, wherever it is. */
export type AnswerFormat = 'strict' | 'flexible';

const strictAnswer = /#### (-?[0-9.,]+)/;
/** `$`, digits, points and commas, two at least; or a single digit or more. */
const looseNumber = /-?[$0-9.,]{2,}|-?[0-9]+/g;

/** The answer as it is compared, or null where the text gives none. */
export function extractAnswer(text: string, format: AnswerFormat): string | null {
  const found = format === 'strict' ? strictAnswer.exec(text)?.[1] : text.match(looseNumber)?.at(-1);
  return found === undefined ? null : normalise(found);
}

/** Whether an extracted answer is the gold one (or the worked answer that ends with it); null where there is no gold. */
export function isCorrect(found: string | null, gold: string | null): boolean | null {
  if (gold === null) return null;
  return found !== null && found === normalise(gold);
}

/** What `exact_match` ignores: commas, dollar signs, everything before the answer, a final point, case. */
function normalise(answer: string): string {
  return answer
    .trim()
    .replaceAll(',', '')
    .replaceAll('$', '')
    .replace(/^[\s\S]*#### /, '')
    .replace(/\.$/, '')
    .toLowerCase();
}
