/** One row of steps.arrow from the logits of both arms and what they chose. */
import type { FloatArray } from '../model/arrays.ts';
import { softmax } from '../model/sampling/index.ts';
import type { Decisions } from './choices.ts';
import { compareLogits, type LogitsComparison, totalVariation } from './metrics/logits.ts';
import type { Protocol, StepRecord } from './rows.ts';

/** What a step is made of; logits are [d_vocab]. */
export interface StepFound {
  protocol: Protocol;
  step: number;
  position: number;
  cached: FloatArray;
  uncached: FloatArray;
  decisions: Decisions;
  /** The arms read different tokens: what compares their choices is then null. */
  parted: boolean;
  /** Type the logits are compared in. */
  compute: 'f32' | 'f64';
}

/** The row, without what oracle and references say of it. */
export function stepRecord(found: StepFound): StepRecord {
  const { protocol, step, position, decisions, parted } = found;
  const { cached, uncached } = decisions;
  const logits = compareLogits(found.cached, found.uncached, found.compute);
  return {
    ...{ protocol, step, position, tokenCached: cached.token, tokenUncached: uncached.token },
    flip: parted ? null : cached.token !== uncached.token,
    differs: null,
    divergedBefore: parted,
    logits,
    tvProcessed: processedVariation(decisions, logits),
    marginChoice: marginOfChoice(decisions, logits),
    boundary: parted ? null : atBoundary(decisions),
    ...{ errorCached: null, errorUncached: null, errorCosine: null },
    drift: { single: null, double: null },
  };
}

/** Total variation after temperature, top-k and top-p; null where greedy. */
function processedVariation({ cached, uncached }: Decisions, { nonfinite }: LogitsComparison): number | null {
  if (cached.scores === null || uncached.scores === null) return null;
  if (cached === uncached && nonfinite === 0) return 0;
  return totalVariation(softmax(cached.scores), softmax(uncached.scores));
}

/** The lead of the uncached arm's choice: of raw logits where greedy, else of what its draw maximised. */
function marginOfChoice({ uncached }: Decisions, logits: LogitsComparison): number | null {
  if (uncached.scores !== null) return uncached.lead;
  const { margin } = logits.uncached;
  return margin === Infinity ? null : margin;
}

/** True where one arm's token was dropped in the other by top-k or top-p: the cut decided, not the lead. */
function atBoundary({ cached, uncached }: Decisions): boolean | null {
  if (cached.scores === null || uncached.scores === null) return null;
  return cached.scores[uncached.token] === -Infinity || uncached.scores[cached.token] === -Infinity;
}
