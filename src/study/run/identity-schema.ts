/** What a merge reads of a study's identity, checked: a shard's file may have been changed. */
import { z } from 'zod';
import { modelTypes } from '../../checkpoint/types.ts';
import { kernelsSchema } from '../../graph/kernels.ts';
import { policySchema } from '../../graph/rounding.ts';
import { several } from '../../patching/specification/fields.ts';
import type { StudyIdentity } from './study-identity.ts';

/** More layers or heads than any model has: what is made for each of them must end. */
const most = 65_536;
const someOf = z.int().min(1).max(most);

const config = z.looseObject({
  modelType: z.enum(modelTypes),
  ...{ layers: someOf, heads: someOf, kvHeads: someOf, headDim: someOf },
  queryKeyNorm: z.boolean(),
});

const strategy = z.union([
  z.strictObject({ kind: z.literal('greedy') }),
  z.strictObject({
    ...{ kind: z.literal('sample'), temperature: z.number(), topK: z.int().nullable(), topP: z.number().nullable() },
    ...{ seed: z.int(), sampler: z.enum(['gumbel', 'inverse-cdf']) },
  }),
]);

const schema = z.looseObject({
  ...{ command: z.literal('study'), name: z.string(), template: z.string() },
  factors: z.strictObject({
    models: several(z.strictObject({ name: z.string(), config })),
    policies: several(policySchema),
    kernels: several(kernelsSchema.extend({ name: z.string(), singleThread: z.boolean() })),
    padding: several(z.int().nonnegative()),
    strategies: several(z.strictObject({ name: z.string(), strategy, coupling: z.enum(['keyed', 'independent']) })),
  }),
  prompts: z.record(z.string(), z.int().nonnegative()),
  settings: z.looseObject({ patching: z.looseObject({ every: z.int().min(1) }) }),
});

/** True for the identity of a study, as this version of kvlens writes it: its journal's format says so. */
export function isStudyIdentity(value: unknown): value is StudyIdentity {
  return schema.safeParse(value).success;
}
