/** Is the cached arm more often right? Paired differences of a setting's conditions, and the uncached arm against itself in other orders. */

import { type Setting, settingName } from '../../study/outcome/setting.ts';
import type { Measured } from '../../study/outcome/types.ts';
import { Columns } from './columns.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import { readResults } from './outcomes.ts';
import type { RunTables } from './run-tables.ts';

export interface AccuracyCondition {
  condition: string;
  /** Model and strategy. */
  name: string;
  prompts: number;
  /** Discordant pairs: only this arm is right. */
  cachedOnly: number;
  uncachedOnly: number;
  /** Share right, cached minus uncached, with Tango's score interval. */
  difference: Measured;
  /** Exact McNemar, adjusted by Holm over the conditions of the setting. */
  adjustedP: number;
  neededDiscordant: number;
  testable: boolean;
  /** Share right of the uncached arm in another order of its sums, minus its own: one for each order. Empty without a placebo. */
  placebo: number[];
}

export interface AccuracyData {
  /** `fp16 · ort`. */
  setting: string;
  conditions: AccuracyCondition[];
}

/** @param selection `condition`: one of the setting to show; default the study's first that has judged answers */
export async function accuracyData(
  run: RunTables,
  selection: { condition?: string } = {},
): Promise<AccuracyData | Missing> {
  const all = await readResults(run);
  if (isMissing(all)) return all;
  const judged = all.flatMap((each) => {
    const { paired } = each.results.accuracy;
    return paired === null ? [] : [{ ...each, paired }];
  });
  if (judged.length === 0)
    return {
      missing: 'No judged answers in outcomes.json: the prompts have no gold answers.',
      command: commands.study,
    };
  const focus =
    selection.condition === undefined ? judged[0] : judged.find(({ condition }) => condition === selection.condition);
  if (!focus) return { missing: `No judged answers of ${selection.condition}.`, command: commands.study };
  const setting = settingName(focus);
  const own = judged.filter((each) => settingName(each satisfies Setting) === setting);
  const placebo = await placeboDifferences(run, new Set(own.map(({ condition }) => condition)));
  return {
    setting,
    conditions: own.map(({ condition, model, strategy, paired }) => ({
      ...{ condition, name: `${model} ${strategy}`, prompts: paired.prompts },
      ...{ cachedOnly: paired.cachedOnly, uncachedOnly: paired.uncachedOnly, difference: paired.difference },
      ...{ adjustedP: paired.adjustedP, neededDiscordant: paired.neededDiscordant, testable: paired.testable },
      placebo: placebo.get(condition) ?? [],
    })),
  };
}

/** By condition and order: share right minus that of the uncached arm, over the prompts in which both are judged. */
async function placeboDifferences(run: RunTables, conditions: ReadonlySet<string>): Promise<Map<string, number[]>> {
  if (!run.has('placebo') || !run.has('answers')) return new Map();
  const uncached = await judgedUncached(run, conditions);
  const sums = new Map<string, Map<number, { difference: number; prompts: number }>>();
  for await (const batch of run.batches('placebo')) {
    const columns = new Columns('placebo', batch);
    const [ofCondition, prompt] = [columns.texts('condition'), columns.texts('prompt')];
    const [seed, correct] = [columns.required('seed'), columns.booleans('correct')];
    for (let row = 0; row < batch.numRows; row++) {
      const condition = ofCondition(row);
      const [placebo, own] = [correct(row), uncached.get(condition)?.get(prompt(row))];
      if (placebo === null || own === undefined) continue;
      const seeds = sums.get(condition) ?? new Map<number, { difference: number; prompts: number }>();
      sums.set(condition, seeds);
      const sum = seeds.get(seed(row)) ?? { difference: 0, prompts: 0 };
      seeds.set(seed(row), sum);
      sum.difference += Number(placebo) - Number(own);
      sum.prompts += 1;
    }
  }
  return new Map(
    [...sums].map(([condition, seeds]) => [
      condition,
      [...seeds].sort(([a], [b]) => a - b).map(([, { difference, prompts }]) => difference / prompts),
    ]),
  );
}

async function judgedUncached(
  run: RunTables,
  conditions: ReadonlySet<string>,
): Promise<Map<string, Map<string, boolean>>> {
  const found = new Map<string, Map<string, boolean>>();
  for await (const batch of run.batches('answers')) {
    const columns = new Columns('answers', batch);
    const [ofCondition, prompt, arm] = ['condition', 'prompt', 'arm'].map((name) => columns.texts(name));
    const correct = columns.booleans('correct');
    for (let row = 0; row < batch.numRows; row++) {
      const [condition, right] = [ofCondition(row), correct(row)];
      if (!conditions.has(condition) || arm(row) !== 'uncached' || right === null) continue;
      const prompts = found.get(condition) ?? new Map<string, boolean>();
      found.set(condition, prompts.set(prompt(row), right));
    }
  }
  return found;
}
