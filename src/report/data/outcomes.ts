/** What figures read of a study's outcomes.json, checked: a file of another version is refused by name. */
import { z } from 'zod';
import { checkedJson } from './checked-json.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';

/** JSON has no NaN: what is not a number is null. */
const number = z.number();
const count = z.int().nonnegative();
const measured = z.looseObject({ value: number, lower: number.nullable(), upper: number.nullable() });
const setting = {
  ...{ precision: z.string(), kernels: z.string() },
  // A study of an earlier version has neither.
  padding: count.default(0),
  coupling: z.enum(['keyed', 'independent']).default('keyed'),
};

const greedy = z.looseObject({
  kind: z.literal('greedy'),
  ...{ steps: count, observed: count, predicted: number, ratio: measured.nullable(), auc: number.nullable() },
  calibration: z.array(
    z.looseObject({ from: number, to: number, steps: count, predicted: number, observed: measured, flips: count }),
  ),
  tied: z.looseObject({ steps: count, flips: count }),
});
const sampled = z.looseObject({
  kind: z.literal('sampled'),
  coupling: z.enum(['gumbel', 'inverse-cdf', 'independent']),
  ...{ observed: measured.nullable(), lower: measured.nullable(), upper: measured.nullable() },
  within: z.boolean().nullable(),
});

const results = z.looseObject({
  ...{ prompts: count, steps: count },
  accuracy: z.looseObject({
    paired: z
      .looseObject({
        ...{ prompts: count, cachedOnly: count, uncachedOnly: count, p: number, adjustedP: number },
        ...{ difference: measured, neededDiscordant: count, testable: z.boolean() },
      })
      .nullable(),
  }),
  flips: z.looseObject({ flips: count, perToken: measured.nullable() }),
  prediction: z.discriminatedUnion('kind', [greedy, sampled]).nullable(),
  drift: z.looseObject({ l2: measured.nullable(), kl: measured.nullable() }),
  temperatures: z.array(z.looseObject({ temperature: number, tv: measured.nullable(), upper: measured.nullable() })),
});

const condition = z.looseObject({
  ...{ index: count, condition: z.string(), model: z.string(), strategy: z.string(), ...setting },
  failedGates: z.array(z.string()),
  /** Null where a failed gate of the harness leaves none. */
  results: results.nullable(),
});

const cell = z.looseObject({
  claim: z.enum(['C1', 'C2', 'C3', 'C4', 'C5']),
  part: z.string(),
  verdict: z.enum(['supported', 'contradicted', 'not identifiable']),
  headline: z.boolean(),
  ...setting,
});

const schema = z.looseObject({ conditions: z.array(condition), table: z.array(cell), machine: z.string() });

export type Outcomes = z.infer<typeof schema>;
export type OutcomeCondition = z.infer<typeof condition>;
export type OutcomeResults = z.infer<typeof results>;
export type VerdictCell = z.infer<typeof cell>;

/** Read the outcomes of a study. @throws InputError if the file is not what a study writes */
export async function readOutcomes(run: RunTables): Promise<Outcomes | Missing> {
  const value = await run.json('outcomes');
  if (value === null) return { missing: 'No outcomes.json.', command: commands.study };
  return checkedJson('outcomes', value, schema, 'it is no study of this version of kvlens');
}

/** A condition that has results, and them. */
export interface ConditionWithResults extends OutcomeCondition {
  results: OutcomeResults;
}

/** Conditions with results, in the order of the study; missing where there is none. */
export async function readResults(run: RunTables): Promise<ConditionWithResults[] | Missing> {
  const outcomes = await readOutcomes(run);
  if (isMissing(outcomes)) return outcomes;
  const found = outcomes.conditions.flatMap((each) =>
    each.results === null ? [] : [{ ...each, results: each.results }],
  );
  if (found.length > 0) return found;
  const missing = 'No condition has results: a gate of the harness failed in each (controls.json).';
  return { missing, command: commands.study };
}
