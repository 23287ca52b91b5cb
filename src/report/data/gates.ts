/** The gates of a run, from controls.json. */
import { z } from 'zod';
import { checkedJson } from './checked-json.ts';
import type { RunTables } from './run-tables.ts';

const gate = z.looseObject({
  ...{ name: z.string(), measured: z.string(), required: z.string(), scope: z.string().default('') },
  class: z.enum(['harness', 'identification']),
  passed: z.boolean(),
  status: z.enum(['passed', 'failed', 'not-applicable']),
  /** Of a study: the model, precision and kernels it was run for. */
  group: z.string().optional(),
});
const schema = z.looseObject({ gates: z.array(gate) });

export type RunGate = z.infer<typeof gate>;

/** The gates in the order of the run; none where the run has no controls.json. @throws InputError if it is none of kvlens */
export async function readGates(run: RunTables): Promise<RunGate[]> {
  const value = await run.json('controls');
  if (value === null) return [];
  return checkedJson('controls', value, schema, 'kvlens writes it with every run').gates;
}
