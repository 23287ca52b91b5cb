/** Which groups have a placebo, and how many arms. */
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { StudyDefinition } from '../definition/schema.ts';
import { isHalf } from '../outcome/precisions.ts';

/** One seed for each permuted arm; none where a study does not ask for any, or single precision needs none. */
export function placeboSeeds({ arms, precisions }: StudyDefinition['placebo'], policy: RoundingPolicy): number[] {
  const asked = isHalf(policy) && (precisions?.includes(policy.name) ?? true);
  return asked ? Array.from({ length: arms }, (_, i) => i + 1) : [];
}
