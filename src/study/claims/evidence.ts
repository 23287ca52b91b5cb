/** From the rows of runs to what the claims' rules read. The unit is the prompt throughout. */
import { bootstrapRatio } from '../../numerics/bootstrap.ts';
import { rateInterval } from '../../numerics/rate-interval.ts';
import type { Row } from '../../store/schemas.ts';
import type { FlippedPrompts } from './c3.ts';
import type { RecoveryByHorizon } from './c5.ts';
import type { Estimate } from './claim.ts';

/** What is read of a row of steps.arrow. */
export type StepRow = Pick<
  Row<'steps'>,
  'prompt' | 'protocol' | 'step' | 'flip' | 'tie_cached' | 'tie_uncached' | 'logits_l2_centred' | 'kl'
>;

/** What is read of a row of patches.arrow. */
export type PatchRow = Pick<
  Row<'patches'>,
  'prompt' | 'horizon' | 'history' | 'kernel' | 'distance_base' | 'distance_patched' | 'vacuous' | 'by_construction'
>;

/** Teacher-forced steps that count: the prefill decides step 0 in both arms. */
function counted(rows: readonly StepRow[]): StepRow[] {
  return rows.filter(({ protocol, step, flip }) => protocol === 'teacher-forced' && step > 0 && flip !== null);
}

/** A share of prompts: Wilson's interval; without one, the upper bound that 95 % of samples of this size would exceed. */
export function shareOfPrompts(count: number, prompts: number): Estimate {
  const { low, high } = rateInterval(count, prompts);
  return { value: count / prompts, lower: low, upper: count === 0 ? 1 - 0.05 ** (1 / prompts) : high };
}

/** Prompts with a flip; `prompts` counts those without a step, too. */
export function flippedPrompts(rows: readonly StepRow[], prompts: number): FlippedPrompts {
  const flips = counted(rows).filter(({ flip }) => flip);
  const flipped = new Set(flips.map(({ prompt }) => prompt));
  const plain = new Set(flips.filter((row) => !row.tie_cached && !row.tie_uncached).map(({ prompt }) => prompt));
  return {
    prompts,
    flipped: flipped.size,
    onlyTies: flipped.size - plain.size,
    share: shareOfPrompts(flipped.size, prompts),
  };
}

/**
 * log10(Σ half / Σ single) of one distance over the prompts that both runs have, bootstrapped by prompt; null where single
 * precision does not differ at all.
 */
export function decades(
  half: readonly StepRow[],
  single: readonly StepRow[],
  metric: 'logits_l2_centred' | 'kl',
): Estimate | null {
  const sums = (rows: readonly StepRow[]) => {
    const byPrompt = new Map<string, number>();
    for (const row of counted(rows)) byPrompt.set(row.prompt, (byPrompt.get(row.prompt) ?? 0) + row[metric]);
    return byPrompt;
  };
  const bottoms = sums(single);
  const units = [...sums(half)].flatMap(([prompt, top]) => {
    const bottom = bottoms.get(prompt);
    return bottom === undefined ? [] : [{ top, bottom }];
  });
  return ratioEstimate(units, Math.log10);
}

/**
 * R = 1 − ΣD_patched / ΣD_base by horizon, over the rows of one intervention; vacuous cells and those that are exact by
 * construction are left out.
 */
export function recoveryByHorizon(rows: readonly PatchRow[]): RecoveryByHorizon {
  const evidence = rows.filter((row) => !row.vacuous && !row.by_construction);
  const horizons = [...new Set(rows.map(({ horizon }) => horizon))].sort((a, b) => a - b);
  return new Map(
    horizons.map((horizon) => [
      horizon,
      remainingShare(
        evidence.filter((row) => row.horizon === horizon),
        (share) => 1 - share,
      ),
    ]),
  );
}

/** ΣD_patched / ΣD_base of the rows, seen through `map`; null where there is nothing to recover. */
export function remainingShare(rows: readonly PatchRow[], map: (share: number) => number = (x) => x): Estimate | null {
  const byPrompt = new Map<string, { top: number; bottom: number }>();
  for (const { prompt, distance_base, distance_patched } of rows) {
    const sums = byPrompt.get(prompt) ?? { top: 0, bottom: 0 };
    sums.top += distance_patched;
    sums.bottom += distance_base;
    byPrompt.set(prompt, sums);
  }
  return ratioEstimate([...byPrompt.values()], map);
}

function ratioEstimate(
  units: readonly { top: number; bottom: number }[],
  map: (ratio: number) => number,
): Estimate | null {
  const sum = (part: 'top' | 'bottom') => units.reduce((total, unit) => total + unit[part], 0);
  const interval = bootstrapRatio(units);
  const bottom = sum('bottom');
  if (bottom === 0 || interval === null) return null;
  const ends = [map(interval.low), map(interval.high)];
  return { value: map(sum('top') / bottom), lower: Math.min(...ends), upper: Math.max(...ends) };
}
