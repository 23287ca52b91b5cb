/** How often each arm is right, and whether the cache changes it. */
import { type Discordant, exactMcNemar, holm, neededDiscordant } from '../statistics/mcnemar.ts';
import { measuredShare, withInterval } from '../statistics/measured.ts';
import { pairedDifferenceInterval } from '../statistics/paired-difference.ts';
import { answerArms } from '../unit/unit-summary.ts';
import type { PromptRecord } from './record.ts';
import type { Accuracy, PairedAccuracy } from './types.ts';

/** Accuracy of one condition; its p is adjusted for the family of the condition alone until `adjustPaired` has seen the others. */
export function accuracyOf(prompts: readonly PromptRecord[]): Accuracy {
  const arms = answerArms.flatMap((arm) => {
    const judged = prompts.flatMap(({ correct }) => correct[arm] ?? []);
    const right = judged.filter(Boolean).length;
    return judged.length === 0 ? [] : [{ arm, n: judged.length, right, share: measuredShare(right, judged.length) }];
  });
  return { arms, paired: pairedAccuracy(prompts) };
}

/** Both arms of a prompt, judged; empty where one is not. */
export function judgedPair({ correct: { cached, uncached } }: PromptRecord): { cached: boolean; uncached: boolean }[] {
  return cached === null || uncached === null ? [] : [{ cached, uncached }];
}

function pairedAccuracy(prompts: readonly PromptRecord[]): PairedAccuracy | null {
  const pairs = prompts.flatMap(judgedPair);
  if (pairs.length === 0) return null;
  const discordant: Discordant = {
    first: pairs.filter(({ cached, uncached }) => cached && !uncached).length,
    second: pairs.filter(({ cached, uncached }) => uncached && !cached).length,
  };
  const { first, second } = discordant;
  const interval = pairedDifferenceInterval(discordant, pairs.length);
  const p = exactMcNemar(discordant);
  return {
    ...{ prompts: pairs.length, cachedOnly: first, uncachedOnly: second, p },
    difference: withInterval((first - second) / pairs.length, interval),
    ...inFamily(first + second, p, 1),
  };
}

/** Holm's adjustment over conditions of the same setting, and what it takes to be testable among so many. */
export function adjustPaired(family: readonly PairedAccuracy[]): PairedAccuracy[] {
  const adjusted = holm(family.map(({ p }) => p));
  return family.map((each, i) => ({
    ...each,
    ...inFamily(each.cachedOnly + each.uncachedOnly, adjusted[i], family.length),
  }));
}

function inFamily(discordant: number, adjustedP: number, family: number) {
  const needed = neededDiscordant(family);
  return { adjustedP, family, neededDiscordant: needed, testable: discordant >= needed };
}
