/** Specs of the experiment that shares the drift out – to classes of operations, rounding places, layers – and of its nulls. */
import { z } from 'zod';
import { UsageError } from '../../errors.ts';
import type { KernelPreset } from '../../graph/kernels.ts';
import type { RoundingPolicy } from '../../graph/rounding.ts';
import { mixedKernel } from '../attribution/class-kernels.ts';
import { narrowPlaces } from '../attribution/rounding-places.ts';
import { description, once, several, specName, unique } from './fields.ts';

/** What can be measured, in the order in which it is shown. */
export const measurements = ['classes', 'places', 'amplification', 'placebo', 'random-ulp'] as const;
export type Measurement = (typeof measurements)[number];

const positive = z.int().min(1);

export const attribution = z
  .strictObject({
    experiment: z
      .literal('attribution')
      .describe('what makes the drift between the arms, and how far rounding alone goes'),
    name: specName,
    description,
    of: several(z.enum(measurements))
      .refine(unique, once)
      .describe(
        '`classes` of operations (Shapley over all 64 sets of six), rounding `places`, `amplification` by layer; the nulls `placebo` and `random-ulp`',
      ),
    history: several(z.enum(['recomputed', 'cached']))
      .refine(unique, once)
      .optional()
      .describe(
        'of `classes`: each step reads the uncached arm’s rows, or what its own earlier steps wrote; default both',
      ),
    seeds: positive.optional().describe('of `placebo` and `random-ulp`: runs of each null, seeds 1 … n; default 5'),
    draws: positive.optional().describe('of `amplification`: random differences by layer and step; default 4'),
    maxSteps: positive.optional().describe('decode steps of each prompt, from the first; default all'),
    prompts: positive.optional().describe('of the prompts that are given, the first so many; `--limit` goes before it'),
  })
  .superRefine(({ of, ...fields }, context) => {
    const needed: Record<'history' | 'seeds' | 'draws', readonly Measurement[]> = {
      history: ['classes'],
      seeds: ['placebo', 'random-ulp'],
      draws: ['amplification'],
    };
    for (const name of ['history', 'seeds', 'draws'] as const) {
      if (fields[name] === undefined || needed[name].some((one) => of.includes(one))) continue;
      const words = needed[name].map((one) => `"${one}"`).join(' and no ');
      context.addIssue({ code: 'custom', path: [name], message: `no such field, as "of" has no ${words}` });
    }
  });

/** A spec with what it leaves out. */
export type AttributionSpec = z.output<typeof attribution>;

/** Defaults of what a spec leaves out and `of` asks for. */
export function settingsOf({ history, seeds, draws, maxSteps }: AttributionSpec) {
  return {
    histories: history ?? (['recomputed', 'cached'] as const),
    seeds: Array.from({ length: seeds ?? 5 }, (_, i) => i + 1),
    draws: draws ?? 4,
    maxSteps: maxSteps ?? Number.POSITIVE_INFINITY,
  };
}

/** What is asked of a spec's run. */
export interface AttributionCondition {
  policy: RoundingPolicy;
  kernels: KernelPreset;
  decodeRows: number;
}

/** @throws UsageError for a condition under which a spec's measurements mean nothing. */
export function checkAttribution(spec: AttributionSpec, { policy, kernels, decodeRows }: AttributionCondition): void {
  if (decodeRows > 1) {
    throw new UsageError(`--decode-rows: found ${decodeRows}, expected 1: spec ${spec.name} is about steps of one row`);
  }
  if (policy.compute === 'float64') {
    throw new UsageError(
      `--precision ${policy.name}: computes in float64, where the runtime's softmax depends on the number of rows`,
      `spec ${spec.name} rests on bit equality: give a precision that computes in float32`,
    );
  }
  if (spec.of.includes('places') && narrowPlaces(policy).length === 0) {
    throw new UsageError(
      `--precision ${policy.name}: rounds nowhere below float32, so spec ${spec.name} has no "places" to share a drift out to`,
      'give fp16, bf16 or a policy of your own',
    );
  }
  // Refuses presets that differ in what no class of operations has by itself.
  if (spec.of.some((one) => one === 'classes' || one === 'placebo' || one === 'random-ulp')) mixedKernel(kernels, 0);
}
