/** What every experiment of `patch` does not find: each fills in its own part of the one result object. */
import type { Result } from './contract.ts';

/** The parts of a result that belong to some experiments only, empty. */
export function nothingElse() {
  return {
    ...{ cells: [], attribution: [], baselines: null, planted: [] },
    ...{ classes: [], places: null, amplification: null, nulls: [] },
  } satisfies Partial<Result<'patch'>>;
}
