/** A gate's result as JSON: what audits keep and `--json` prints. */
import { z } from 'zod';
import type { GateResult } from '../summary.ts';

const gateResult = z.strictObject({
  name: z.string(),
  class: z.enum(['harness', 'identification']),
  passed: z.boolean(),
  status: z.enum(['passed', 'failed', 'not-applicable']),
  measured: z.string(),
  required: z.string(),
  scope: z.string().describe('what the measurement covered'),
});

export const gateResultSchema: z.ZodType<GateResult> = gateResult;

/** A gate of a study: of one model under one precision and one kernel preset. */
export const groupedGateSchema = gateResult.extend({
  group: z.string().describe('model/precision/kernels'),
});
