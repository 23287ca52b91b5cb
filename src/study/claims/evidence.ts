/** From the rows of runs to what the claims' rules read. The unit is the prompt throughout. */
import type { Row } from '../../store/schemas.ts';
import {
  estimateOf,
  mapped,
  measuredRatio,
  measuredShare,
  type RatioUnit,
  verdictDraws,
} from '../statistics/measured.ts';
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

/** Prompts with a flip; `prompts` counts those without a step, too. */
export function flippedPrompts(rows: readonly StepRow[], prompts: number): FlippedPrompts {
  const flips = counted(rows).filter(({ flip }) => flip);
  const flipped = new Set(flips.map(({ prompt }) => prompt));
  const plain = new Set(flips.filter((row) => !row.tie_cached && !row.tie_uncached).map(({ prompt }) => prompt));
  return flippedShare(flipped.size, plain.size, prompts);
}

/** The same from counts: prompts with a flip, and those of them with one that is no exact tie. */
export function flippedShare(flipped: number, plain: number, prompts: number): FlippedPrompts {
  return { prompts, flipped, onlyTies: flipped - plain, share: measuredShare(flipped, prompts) };
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
  return decadesOf(units);
}

/** log10(Σ top / Σ bottom), bootstrapped by unit; null where an end of it has no logarithm. */
export function decadesOf(units: readonly RatioUnit[]): Estimate | null {
  return estimateOf(mapped(measuredRatio(units, { resamples: verdictDraws }), Math.log10));
}

/**
 * R = 1 − ΣD_patched / ΣD_base by horizon, over the rows of one intervention; vacuous cells and those that are exact by
 * construction are left out.
 */
export function recoveryByHorizon(rows: readonly PatchRow[]): RecoveryByHorizon {
  const evidence = rows.filter((row) => !row.vacuous && !row.by_construction);
  const horizons = [...new Set(rows.map(({ horizon }) => horizon))].sort((a, b) => a - b);
  return new Map(
    horizons.map((horizon) => [horizon, recoveryOf(sumsByPrompt(evidence.filter((row) => row.horizon === horizon)))]),
  );
}

/** ΣD_patched and ΣD_base of each prompt's rows. */
function sumsByPrompt(rows: readonly PatchRow[]): RatioUnit[] {
  const byPrompt = new Map<string, { top: number; bottom: number }>();
  for (const { prompt, distance_base, distance_patched } of rows) {
    const sums = byPrompt.get(prompt) ?? { top: 0, bottom: 0 };
    sums.top += distance_patched;
    sums.bottom += distance_base;
    byPrompt.set(prompt, sums);
  }
  return [...byPrompt.values()];
}

/** Below so many prompts an interval resampled from them says little: nothing is judged by it. */
export const fewestPrompts = 6;

/** R = 1 − Σ top / Σ bottom, bootstrapped by unit; null where there is nothing to recover, or in too few prompts. */
export function recoveryOf(units: readonly RatioUnit[]): Estimate | null {
  if (units.length < fewestPrompts) return null;
  return estimateOf(mapped(measuredRatio(units, { resamples: verdictDraws }), (share) => 1 - share));
}
