/** Pieces of the contract that several commands print. */
import { z } from 'zod';
import { gateResultSchema } from '../divergence/gates/gate-result.ts';

/** A measured number; JSON has no NaN and no infinity, so those are words. */
export const measure = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity'])]);
export const count = z.int().nonnegative();
export const tokenIds = z.array(count);

export const gateResults = z.strictObject({
  passed: z.boolean(),
  failed: z.array(z.string()).describe('names of the gates that failed'),
  results: z.array(gateResultSchema),
});

/** Where a divergence starts. */
export const origin = z.strictObject({
  prompt: z.string().describe('id of the prompt'),
  step: count,
  hook: z.string().describe('full name of the first output that differs'),
  operation: z.string().describe('the operation that computes it, whose inputs are all bit-equal'),
  promptIndex: count,
  layer: z.int(),
  head: count.nullable(),
  nDiffer: count,
  nElements: count,
  maxUlp: measure,
  readsCache: z.boolean(),
});

/** A number as the contract writes it. */
export function toMeasure(value: number): z.infer<typeof measure> {
  if (Number.isFinite(value)) return value;
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? 'Infinity' : '-Infinity';
}
