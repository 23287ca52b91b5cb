/** What a journal holds of a prompt, checked when it is read again. */
import { z } from 'zod';
import type { PatchedPrompt } from './patched-prompt.ts';

/** Any number; JSON has words for those that are not finite. */
export const numberSchema = z.custom<number>((value) => typeof value === 'number', { error: 'a number' });
const number = numberSchema;
const count = z.int().nonnegative();
const distance = z.strictObject({ l2: number, kl: number, differ: count });
const recovery = z.strictObject({
  ...{ base: distance, patched: distance, recovery: number.nullable(), recoveryKl: number.nullable() },
  ...{ exact: z.boolean(), vacuous: z.boolean(), harmful: z.boolean() },
});
const tokens = z.strictObject({ first: count.nullable(), follows: count, toTheEnd: z.boolean() });
const cell = z.strictObject({
  ...{ cell: count, step: count, posStart: count, posEnd: count, changed: count },
  outcomes: z.array(z.strictObject({ horizon: count, recovery })),
  ...{ tokens, baseTokens: tokens, byConstruction: z.array(z.boolean()) },
});
/** Counts of one exactness check. */
export const checkCounts = z.strictObject({
  ...{
    steps: count,
    elements: count,
    differ: count,
    signedZero: count,
    failed: z.boolean(),
    first: z.string().nullable(),
  },
});
const attribution = z.strictObject({
  ...{ step: count, base: number, recomputed: number, plays: count },
  parts: z.array(
    z.strictObject({
      part: z.string(),
      differing: count,
      value: number,
      oneIn: number,
      standardError: number.nullable(),
    }),
  ),
});

const schema: z.ZodType<PatchedPrompt> = z.strictObject({
  ...{ index: count, prompt: z.string(), tokens: z.array(count), steps: count },
  ...{ cells: z.array(cell), attributions: z.array(attribution) },
  checks: z.strictObject({ 'patch-self': checkCounts, 'patch-full': checkCounts }),
  ...{ spotChecks: z.strictObject({ steps: count, failed: count }), recomputed: z.boolean() },
});

/** @throws if it is not the result of a prompt */
export function parsePatched(value: unknown): PatchedPrompt {
  return schema.parse(value);
}
