/** The claims in a few words each. */
import { c3Rules } from '../study/claims/c3.ts';
import { c5Rules } from '../study/claims/c5.ts';
import type { StudyVerdict } from '../study/outcome/types.ts';

export const claims: Record<StudyVerdict['claim'], string> = {
  C1: 'every text diverges',
  C2: 'the cached path is more accurate',
  C3: 'fp16 rounding is the sole cause',
  C4: 'drift follows the architecture',
  C5: 'the cache is the root',
};

/** What a part that is a letter asks, in the words before its rule; null of other parts, whose names say it. */
export function partQuestion(claim: StudyVerdict['claim'], part: string): string | null {
  const rules: Readonly<Record<string, string>> = claim === 'C3' ? c3Rules : claim === 'C5' ? c5Rules : {};
  const rule = /^[a-z]$/.test(part) ? rules[part] : undefined;
  return rule === undefined ? null : rule.slice(0, rule.indexOf(':'));
}
