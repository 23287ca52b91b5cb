/** What `study` prints: conditions, verdicts and what they rest on. */
import { z } from 'zod';
import { groupedGateSchema } from '../divergence/gates/gate-result.ts';
import { conditionSchema, measured, setting } from './contract-condition.ts';
import { count } from './contract-parts.ts';

const claim = z.enum(['C1', 'C2', 'C3', 'C4', 'C5']);
const finding = z.enum(['supported', 'contradicted', 'not identifiable']);

const verdict = z.strictObject({
  claim,
  part: z.string(),
  verdict: finding,
  rule: z.string().describe('fixed before anything is run'),
  inputs: z
    .record(z.string(), z.union([z.number(), z.string(), z.null()]))
    .describe('the numbers that entered the rule'),
  scope: z.string(),
  ...setting,
  model: z.string().nullable().describe('null: over all models'),
  condition: z.string().nullable().describe('null: over several'),
  headline: z.boolean().describe('the part that answers the claim'),
});

const falsification = z.strictObject({
  model: z.string(),
  ...setting,
  control: z.string().describe('the single precision it is set against'),
  strategies: z.array(z.string()),
  prompts: count,
  l2: measured.nullable().describe('decades, in the L2 of mean-centred logits; null where the control does not differ'),
  kl: measured.nullable().describe('decades, in KL: quadratic'),
  predicted: z
    .strictObject({ linear: z.number(), quadratic: z.number(), powersOfTwo: z.tuple([z.number(), z.number()]) })
    .describe('what rounding alone predicts'),
  flippedHalf: measured.describe('share of prompts with a flip'),
  flippedSingle: measured,
});

const profile = z.strictObject({
  model: z.string(),
  family: z.string(),
  ...setting,
  prompts: count,
  added: z
    .array(z.strictObject({ layer: count, mean: z.number().nullable() }))
    .describe('mean relative error that each layer’s kernel adds'),
  sharpness: measured.nullable().describe('first layer over the median of the others'),
  unevenness: measured.nullable().describe('largest over median'),
});

export const studyResultSchema = z.strictObject({
  run: z.string().describe('the run directory'),
  conditions: z.array(conditionSchema).describe('in the order of the study; empty of a shard'),
  verdicts: z.array(verdict).describe('by condition, by model and over all; empty of a shard'),
  name: z.string(),
  shard: z.strictObject({ index: count, of: count }).nullable().describe('null of a whole study'),
  units: count.describe('prompts × conditions'),
  falsification: z.array(falsification).describe('half precision against single, by model and setting'),
  profiles: z.array(profile),
  table: z
    .array(
      z.strictObject({
        claim,
        part: z.string(),
        verdict: finding,
        headline: z.boolean(),
        ...setting,
      }),
    )
    .describe('claims × settings: the verdicts over all models'),
  machine: z.string().nullable().describe('what a run on this kind of machine can and cannot say; null of a shard'),
  explained: z
    .array(
      z.strictObject({
        condition: z.string(),
        prompt: z.string(),
        step: count,
        cause: z.string().describe('as `diverge --explain` gives it'),
        verdict: z.string().describe('the rule that gave it'),
      }),
    )
    .describe('first flips that lean further than rounding does, explained'),
  gates: z.strictObject({
    passed: z.boolean(),
    failed: z.array(z.string()).describe('`group gate`, the group as model/precision/kernels'),
    results: z.array(groupedGateSchema),
  }),
});
