/** What C1 and C2 read: texts and answers of one precision and one kernel preset, all models and strategies. */
import type { C1Condition, C1Evidence } from '../claims/c1.ts';
import type { C2Evidence } from '../claims/c2.ts';
import { wholeRatioInterval } from '../statistics/exact-bootstrap.ts';
import { neededDiscordant } from '../statistics/mcnemar.ts';
import { estimateOf, measuredRatio, measuredShare, withInterval } from '../statistics/measured.ts';
import { signFlipTest } from '../statistics/sign-flip.ts';
import { judgedPair } from './accuracy.ts';
import type { ConditionRecord } from './condition-record.ts';
import { firstFlips, sequenceDivergence } from './divergence.ts';
import { byPrompt, type Family, type StudyView, scopeOf } from './study-view.ts';

/** Texts of every condition of a family. */
export function c1Evidence(view: StudyView, family: Family): C1Evidence {
  return {
    scope: scopeOf(family),
    conditions: family.records.map((record) => c1Condition(view, family, record)),
    voided: family.voided.map(({ name }) => name),
  };
}

function c1Condition(view: StudyView, family: Family, record: ConditionRecord): C1Condition {
  const { condition, prompts, placebo } = record;
  const { diverged, equalToEnd, equalAtLimit } = sequenceDivergence(prompts);
  const { suspects, boundary, withoutMargin, unexplained } = firstFlips(prompts, placebo.drift);
  return {
    name: condition.name,
    scope: `${scopeOf({ ...family, records: [record], voided: [] })}; ${condition.strategyName}`,
    failedGates: view.doubts(condition),
    ...{ diverged, equalToEnd, equalAtLimit, share: measuredShare(diverged, prompts.length) },
    keyed: isKeyed(record),
    firstFlips: { suspects, suspectAbove: placebo.drift, boundary, withoutMargin, unexplained },
  };
}

/** Both arms draw the same random numbers, or none. */
export function isKeyed({ condition }: ConditionRecord): boolean {
  return condition.strategy.kind === 'greedy' || condition.coupling === 'keyed';
}

/** Answers of every condition of a family in which both arms are judged. */
export function c2Evidence(view: StudyView, family: Family): C2Evidence {
  const judged = family.records.filter(({ prompts }) => prompts.some((prompt) => judgedPair(prompt).length > 0));
  const conditions = judged.map(({ condition, prompts }) => {
    const pairs = prompts.flatMap(judgedPair);
    return {
      name: condition.name,
      cachedOnly: pairs.filter(({ cached, uncached }) => cached && !uncached).length,
      uncachedOnly: pairs.filter(({ cached, uncached }) => uncached && !cached).length,
    };
  });
  const differences = byPrompt(
    judged,
    () => ({ top: 0, bottom: 0 }),
    (sums, prompt) => {
      for (const { cached, uncached } of judgedPair(prompt)) {
        sums.top += Number(cached) - Number(uncached);
        sums.bottom += 1;
      }
    },
  );
  // A prompt that no condition judges says nothing, and is not drawn.
  const units = [...differences.values()].filter(({ bottom }) => bottom > 0);
  const difference = measuredRatio(units);
  const needed = neededDiscordant(Math.max(1, judged.length));
  const tooFew = conditions.filter(({ cachedOnly, uncachedOnly }) => cachedOnly + uncachedOnly < needed);
  const doubts = new Set(judged.flatMap(({ condition }) => view.doubts(condition)));
  return {
    scope: scopeOf({ ...family, records: judged }),
    failedGates: [...doubts],
    conditions,
    voided: family.voided.map(({ name }) => name),
    signFlip: signFlipTest(units.map(({ top }) => top)),
    difference90: difference && estimateOf(withInterval(difference.value, wholeRatioInterval(units, 0.9))),
    placebo: accuracyPlacebo(judged),
    power: { neededDiscordant: needed, untestable: tooFew.map(({ name }) => name) },
  };
}

/**
 * Seed by seed, Σ (placebo right − uncached right) over prompts and conditions that have a placebo, and Σ (cached right −
 * uncached right) of the same ones. Seeds count as far as every placebo has them.
 */
function accuracyPlacebo(records: readonly ConditionRecord[]): C2Evidence['placebo'] {
  const units = records.flatMap(({ prompts }) =>
    prompts.flatMap((prompt) => {
      const [pair] = judgedPair(prompt);
      const correct = prompt.placebo?.correct ?? [];
      const judged = correct.flatMap((right) => right ?? []);
      return pair === undefined || correct.length === 0 || judged.length < correct.length ? [] : [{ ...pair, judged }];
    }),
  );
  if (units.length === 0) return null;
  const seeds = units.reduce((least, { judged }) => Math.min(least, judged.length), Infinity);
  const sums = Array.from({ length: seeds }, (_, seed) =>
    units.reduce((sum, { judged, uncached }) => sum + Number(judged[seed]) - Number(uncached), 0),
  );
  const observed = units.reduce((sum, { cached, uncached }) => sum + Number(cached) - Number(uncached), 0);
  return { sums, observed };
}
