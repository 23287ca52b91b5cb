/** A fault of the cache's state is not taken for another order of sums: the order-matched arm has it, too. */
import { describe, expect, onTestFinished, test } from 'vitest';
import type { StudyInput } from '../../../src/study/definition/schema.ts';
import type { ConditionResults } from '../../../src/study/outcome/types.ts';
import type { StudyResult } from '../../../src/study/run/publish.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { resolved, run, temporaryFolder, tinyStudy } from './tiny-study.ts';

const only: Partial<StudyInput> = {
  ...{ strategies: ['greedy'], profile: { prompts: 0 }, patching: { prompts: 0 }, placebo: { arms: 0 } },
};
const stale = [0, 1].map((layer) => ({ kind: 'stale-row', component: 'both', layer, row: 2, holds: 1 }) as const);

const studied = async (changes: Parameters<typeof tinyStudy>[0]) =>
  run(await resolved(tinyStudy({ limit: 3, ...only, ...changes })), temporaryFolder());
const matchedOf = ({ outcome }: StudyResult): ConditionResults['orderMatched'][] =>
  outcome?.conditions.map(({ results }) => results?.orderMatched ?? null) ?? [];
const verdicts = ({ outcome }: StudyResult, claim: string) =>
  outcome?.verdicts.filter((each) => each.claim === claim && each.part === 'c' && each.model === null);

describe('order-matched decoding in a study', { timeout: 300_000 }, () => {
  test('removes what another order makes, and not what stale rows make', async () => {
    const plain = await studied({});
    expect(matchedOf(plain)).toEqual([expect.objectContaining({ differingElements: 0, distance: 0 })]);
    expect(verdicts(plain, 'C5')).toEqual([expect.objectContaining({ verdict: 'contradicted' })]);
    const planted = await studied({ plant: { faults: stale, share: 1 } });
    const [matched] = matchedOf(planted);
    expect(matched?.differingElements).toBeGreaterThan(0);
    expect(matched?.distance).toBeGreaterThan(0.5 * (matched?.ordinary ?? Infinity));
    expect(verdicts(planted, 'C3')).toEqual([expect.objectContaining({ verdict: 'contradicted' })]);
    expect(verdicts(planted, 'C5')).toEqual([expect.objectContaining({ verdict: 'not identifiable' })]);
  });

  test('is left open where padding makes another order, too', async () => {
    const model = writeTinyCheckpoint();
    onTestFinished(() => removeCheckpoint(model));
    const padded = await studied({ models: [model], padding: [9], maxNewTokens: 58, limit: 10 });
    const [matched] = matchedOf(padded);
    expect(matched?.differingElements).toBeGreaterThan(0);
    for (const claim of ['C3', 'C5']) {
      expect(verdicts(padded, claim)).toEqual([expect.objectContaining({ padding: 9, verdict: 'not identifiable' })]);
    }
  });
});
