/** What a journal holds of a work unit, checked when it is read again. */
import { z } from 'zod';
import { gateResultSchema } from '../../divergence/gates/gate-result.ts';
import { operationClasses } from '../../graph/kernels.ts';
import { checkCounts, numberSchema } from '../../patching/run/patched-schema.ts';
import { isRowValues, rowOf } from '../../store/row-values.ts';
import { divergedAt } from './diverged-at.ts';
import type { PromptUnit, UnitResult, UnitTable } from './unit.ts';
import { answerArms, type UnitSummary } from './unit-summary.ts';

const number = numberSchema;
const count = z.int().nonnegative();
const both = z.strictObject({ cached: number, uncached: number });

const answer = z.strictObject({
  ...{
    arm: z.enum(answerArms),
    tokens: z.array(z.int32().nonnegative()),
    text: z.string().nullable(),
    answer: z.string().nullable(),
  },
  ...{ correct: z.boolean().nullable(), stop: z.enum(['end', 'stop-sequence', 'limit', 'context']) },
});

const sums = z.strictObject({
  ...{ steps: count, differing: count, ties: count, l2Centred: number, kl: number, js: number, tv: number },
  ...{ tvProcessed: number.nullable(), tvProcessedUpper: number.nullable() },
  ...{ errorCached: number.nullable(), errorUncached: number.nullable() },
  ...{ single: both.nullable(), double: both.nullable() },
});

const layer = z.strictObject({
  ...{ layer: z.int(), steps: count, equal: count, relL2: number, relL2Squared: number },
  ...{ added: number.nullable(), viaHistory: number.nullable(), viaResidual: number.nullable() },
});

const cell = z.strictObject({
  ...{ spec: z.string(), history: z.string(), kernel: z.string(), hook: z.string(), horizon: count, cells: count },
  ...{ base: number, patched: number, vacuous: count, byConstruction: count, harmful: count, exact: count },
});

const summary: z.ZodType<UnitSummary> = z.strictObject({
  ...{ condition: count, index: count, prompt: z.string(), promptTokens: count, sums },
  flips: z.array(z.strictObject({ step: count, margin: number.nullable(), tie: z.boolean(), boundary: z.boolean() })),
  ...{ margins: z.array(number), shifts: z.array(number), divergedAt: count.nullable(), answers: z.array(answer) },
  orderMatched: z.strictObject({ steps: count, differingElements: count, distance: number }).nullable(),
  temperatures: z.array(z.strictObject({ temperature: number, tv: number, upper: number })),
  layers: z.array(layer).nullable(),
  placebo: z
    .strictObject({
      correct: z.array(z.boolean().nullable()),
      divergedAt: z.array(count.nullable()),
      drift: z.array(z.tuple([z.int(), count])),
    })
    .nullable(),
  cells: z.array(cell).nullable(),
  uncached: z.strictObject({ checked: count, failed: count, recomputed: z.boolean() }),
  nonfinite: z.strictObject({ elements: count, nan: count, hook: z.string().nullable() }),
  planted: z.boolean(),
});

const rowsOf = (table: UnitTable) =>
  z.array(z.array(z.unknown())).refine((rows) => rows.every((values) => isRowValues(table, values)));

const promptUnit: z.ZodType<PromptUnit> = z.strictObject({
  ...{ kind: z.literal('prompt'), unit: count, summary },
  rows: z.strictObject({
    ...{
      steps: rowsOf('steps'),
      candidates: rowsOf('candidates'),
      layers: rowsOf('layers'),
      patches: rowsOf('patches'),
    },
    ...{ answers: rowsOf('answers'), temperatures: rowsOf('temperatures'), placebo: rowsOf('placebo') },
  }),
  checks: z.strictObject({ 'patch-self': checkCounts, 'patch-full': checkCounts }).nullable(),
  explained: z.strictObject({ step: count, cause: z.string(), verdict: z.string() }).nullable(),
});

/** True if the summary and the rows of a unit speak of the same steps, texts and cells. */
function isConsistent({ summary, rows }: PromptUnit): boolean {
  const { sums, margins, shifts, flips, answers, temperatures, layers, placebo, cells } = summary;
  const tokensOf = (arm: string) => answers.find((answer) => answer.arm === arm)?.tokens;
  const [cached, uncached] = [tokensOf('cached'), tokensOf('uncached')];
  const counted = rows.steps.filter((values) => {
    const { protocol, step } = rowOf('steps', values, { condition: '', prompt: '' });
    return protocol === 'teacher-forced' && step > 0;
  });
  return [
    counted.length === sums.steps && margins.length === sums.steps && shifts.length === sums.steps,
    flips.every(({ step }) => step >= 1 && step <= sums.steps),
    cached !== undefined && uncached !== undefined && divergedAt(cached, uncached) === summary.divergedAt,
    rows.answers.length === answers.length,
    // Of both arms, where the texts part at a token.
    rows.candidates.length === 0 || (rows.candidates.length === 2 && summary.divergedAt !== null),
    rows.temperatures.length === temperatures.length,
    (layers === null) === (rows.layers.length === 0),
    cells === null ? rows.patches.length === 0 : rows.patches.length >= Math.min(1, cells.length),
    rows.placebo.length === (placebo?.correct.length ?? 0) && rows.placebo.length === (placebo?.divergedAt.length ?? 0),
  ].every(Boolean);
}

const gatesUnit = z.strictObject({
  ...{ kind: z.literal('gates'), group: count, gates: z.array(gateResultSchema).min(1) },
  classes: z.array(z.enum(operationClasses)),
  placeboPlan: z.enum(['forward', 'recompute']),
});

/** @throws if it is no unit */
export function parseUnit(value: unknown): UnitResult {
  return z.union([promptUnit.refine(isConsistent), gatesUnit]).parse(value);
}

/** What is looked at before a unit is needed: which one it is. */
export const unitHead = z.union([
  z.looseObject({ kind: z.literal('gates') }),
  z.looseObject({ kind: z.literal('prompt'), unit: count, summary: z.looseObject({ flips: z.array(z.unknown()) }) }),
]);
