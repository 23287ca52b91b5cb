/** The claims in a few words each. */
import type { StudyVerdict } from '../study/outcome/types.ts';

export const claims: Record<StudyVerdict['claim'], string> = {
  C1: 'every text diverges',
  C2: 'the cached path is more accurate',
  C3: 'fp16 rounding is the sole cause',
  C4: 'drift follows the architecture',
  C5: 'the cache is the root',
};
