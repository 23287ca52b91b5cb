/** The forward calls a run is made of: what its arithmetic is counted from. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

const callSchema = z.strictObject({
  /** Rows the call computes. */
  rows: z.int().min(1),
  /** Rows of the cache it reads before its own. */
  past: z.int().min(0),
  /** How many such calls. */
  count: z.int().min(1),
  /** Rows whose logits it computes; all without it. */
  logits: z.int().min(0).optional(),
});

/** Equal forward calls. */
export type Calls = z.infer<typeof callSchema>;

/** Read `[{rows, past, count}]`. */
export function readCalls(file: string): Calls[] {
  const parsed = z
    .array(callSchema)
    .min(1)
    .safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new Error(`${file}: ${path.join('.')}: ${message}, expected [{"rows": 64, "past": 0, "count": 1}, …]`);
}

/**
 * What a teacher-forced run of one prompt must compute: both arms, and what its gates recompute.
 * @param prefill tokens of the prompt
 * @param steps tokens that follow; the last one is only compared with
 */
export function teacherForcedCalls(prefill: number, steps: number): Calls[] {
  const decodes = (rows: number, from: number, count: number): Calls[] =>
    Array.from({ length: count }, (_, i) => ({ rows, past: from + i + 1 - rows, count: 1 }));
  const checked = Math.min(8, steps - 1);
  const recomputed = Array.from({ length: checked }, (_, i) => ({ rows: prefill + i + 1, past: 0, count: 1 }));
  return [
    // Uncached arm: two rows per step stand in for recomputing all of them.
    { rows: prefill, past: 0, count: 1 },
    ...decodes(2, prefill, steps - 1),
    // Cached arm.
    { rows: prefill, past: 0, count: 1 },
    ...decodes(1, prefill, steps - 1),
    // Gates: recomputation from the first token, the decode steps twice more, everything in one call.
    ...recomputed,
    ...decodes(1, prefill, checked),
    ...decodes(1, prefill, checked),
    { rows: prefill + steps - 1, past: 0, count: 1 },
  ];
}

/** Calls and rows in words. */
export function describeCalls(calls: readonly Calls[]): string {
  const total = calls.reduce((sum, { count }) => sum + count, 0);
  const rows = calls.reduce((sum, call) => sum + call.rows * call.count, 0);
  return `${total} forward calls, ${rows.toLocaleString('en')} rows`;
}
