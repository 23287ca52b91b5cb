/** The last line of an attribution: what was found, in one sentence that the numbers above bear. */
import type { AttributionSummary, ClassesSummary, NullFound } from '../../patching/attribution/run/summary.ts';
import { formatCounted, formatShare, formatValue } from './numbers.ts';

/** Operations as the text names them. */
export const operationNames: Record<string, string> = {
  ...{ qkv: 'q, k, v', scores: 'q kᵀ', values: 'pattern · v', o: 'o', mlp: 'mlp', head: 'unembed' },
};

/** `×1.4` */
export function times(ratio: number): string {
  return `×${formatValue(ratio)}`;
}

/** The first of what was asked for decides the word; nulls come last. */
export function verdictText(summary: AttributionSummary): string {
  const { observed, steps, classes, places, gains, nulls, kernels, emulated } = summary;
  if (observed === 0)
    return `NO DRIFT  the logits of the arms are equal in ${formatCounted(steps, 'step')}: there is nothing to share out`;
  const emulation = emulated ? `; ${kernels} is emulated` : '';
  const parts = [
    ...classes.slice(-1).map(classText),
    ...(places ? [placeText(places)] : []),
    ...(gains
      ? [
          `gains predict a drift of ${times(gains.drift.predictedActual / gains.drift.observed)} the observed, ${times(gains.drift.predictedRandom / gains.drift.observed)} from random differences`,
        ]
      : []),
    ...nulls.map(nullText),
  ];
  return `MEASURED  ${parts.join('; ')}${emulation}`;
}

function classText({ history, parts }: ClassesSummary): string {
  const ordered = parts.toSorted((a, b) => b.shapley - a.shapley).filter(({ share }) => share !== null && share > 0);
  const named = ordered
    .slice(0, 2)
    .map(({ operation, share }) => `${operationNames[operation]} ${formatShare(share ?? 0)}`);
  if (named.length === 0) return `no class makes a drift, ${history} history`;
  return `${named.join(' and ')} of the drift, ${history} history`;
}

function placeText({ all, none, parts }: NonNullable<AttributionSummary['places']>): string {
  const most = parts.reduce((top, part) => (part.oneIn > top.oneIn ? part : top));
  return `${most.place} alone brings ${times(most.oneIn / all)} the drift of all places, no place ${times(none / all)}`;
}

/** Ranks, not adjectives: with n seeds a drift above all of them has a chance of 1 in n + 1. */
function nullText({ null: name, mean, observed, below, seeds }: NullFound): string {
  if (mean === 0) return `${name} does not drift`;
  const rank =
    below === seeds
      ? `above all ${formatCounted(seeds, 'seed')} (1 in ${seeds + 1} by chance)`
      : below === 0
        ? `below all ${formatCounted(seeds, 'seed')}`
        : `above ${below} of ${formatCounted(seeds, 'seed')}`;
  return `the drift is ${times(observed / mean)} the ${name}’s, ${rank}`;
}
