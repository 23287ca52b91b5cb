/** Made-up units of a study, in which nothing differs unless a test says so. */
import type { GateResult } from '../../src/divergence/summary.ts';
import { kernelPresets } from '../../src/graph/kernels.ts';
import { policies } from '../../src/graph/rounding.ts';
import type { Condition, StudyModel } from '../../src/study/definition/condition.ts';
import { gateGroup } from '../../src/study/outcome/gate-groups.ts';
import { StudyOutcomes } from '../../src/study/outcome/study-outcomes.ts';
import type { StudyOutcome, StudyVerdict } from '../../src/study/outcome/types.ts';
import type { Answer, LayerSums, StepSums, StopReason, UnitSummary } from '../../src/study/unit/unit-summary.ts';

export const llama: StudyModel = { name: 'tiny-llama', family: 'llama', heads: 4, kvHeads: 4, layers: 3 };
export const mistral: StudyModel = { name: 'tiny-mistral', family: 'mistral', heads: 4, kvHeads: 1, layers: 3 };
export const gemma: StudyModel = { name: 'tiny-gemma', family: 'gemma2', heads: 4, kvHeads: 2, layers: 3 };

/** A condition; greedy fp16 of `llama` under `ort` unless said otherwise. */
export function condition(index: number, changes: Partial<Condition> = {}): Condition {
  const base: Condition = {
    ...{ index, name: '', model: llama, policy: policies.fp16, kernels: kernelPresets.ort },
    ...{ strategyName: 'greedy', strategy: { kind: 'greedy' as const }, coupling: 'keyed' as const, padding: 0 },
    ...changes,
  };
  const { model, policy, kernels, strategyName } = base;
  return { ...base, name: changes.name ?? `${model.name}/${policy.name}/${kernels.name}/${strategyName}` };
}

export const sampled = (changes: { sampler?: 'gumbel' | 'inverse-cdf' } = {}): Partial<Condition> => ({
  strategyName: 't1.0',
  strategy: { kind: 'sample', temperature: 1, topK: null, topP: null, seed: 0, sampler: 'gumbel', ...changes },
});

export const nothing: StepSums = {
  ...{ steps: 10, differing: 0, ties: 0, l2Centred: 0, kl: 0, js: 0, tv: 0, tvProcessed: null, tvProcessedUpper: null },
  ...{ errorCached: null, errorUncached: null, single: null, double: null },
};

/** Ids that sort as they are numbered. */
export const promptId = (index: number): string => `p${String(index).padStart(4, '0')}`;

/** A unit of 11 tokens (10 counted steps) that end at the limit; margins of 1 and no shift. */
export function unit(
  at: Condition,
  index: number,
  changes: Partial<Omit<UnitSummary, 'sums'>> & { sums?: Partial<StepSums> } = {},
): UnitSummary {
  const sums = { ...nothing, ...changes.sums };
  const filled = <Value>(value: Value) => Array.from({ length: sums.steps }, () => value);
  return {
    ...{ condition: at.index, index, prompt: promptId(index), promptTokens: 5 },
    ...{ flips: [], margins: filled(1), shifts: filled(0), divergedAt: null },
    answers: answers({ tokens: sums.steps + 1 }),
    ...{ orderMatched: null, temperatures: [], layers: null, placebo: null, cells: null },
    uncached: { checked: 1, failed: 0, recomputed: false },
    ...{ nonfinite: { elements: 0, nan: 0, hook: null }, planted: false },
    ...changes,
    sums,
  };
}

/** Answers of the cached and the uncached arm. */
export function answers({
  tokens = 11,
  stop = 'limit',
  cached = null,
  uncached = null,
}: {
  tokens?: number;
  stop?: StopReason;
  cached?: boolean | null;
  uncached?: boolean | null;
}): Answer[] {
  const answer = (arm: Answer['arm'], correct: boolean | null): Answer => ({
    ...{ arm, tokens: Array.from({ length: tokens }, () => 7), text: null, answer: null, correct, stop },
  });
  return [answer('cached', cached), answer('uncached', uncached)];
}

/** What diverges at a step, with a first flip of this margin there. */
export function diverging(step = 3, margin: number | null = 0.001, more: { tie?: boolean; boundary?: boolean } = {}) {
  return { divergedAt: step, flips: [{ step, margin, tie: false, boundary: false, ...more }] };
}

/** A layer's sums over 10 steps: so much added per step. */
export function layer(at: number, added: number | null, changes: Partial<LayerSums> = {}): LayerSums {
  return {
    ...{ layer: at, steps: 10, equal: 0, relL2: 0, relL2Squared: 0 },
    ...{ added: added === null ? null : 10 * added, viaHistory: added === null ? null : 0 },
    ...{ viaResidual: added === null ? null : 0, ...changes },
  };
}

/** All gates of a group passed, but those named. */
export function gates(failed: readonly string[] = []): GateResult[] {
  const harness = ['repeat', 'alignment', 'canary', 'provenance', 'no-op', 'full-patch', 'observer', 'residual'];
  const identification = ['null', 'prefix', 'finite', 'batch-threads'];
  const result = (name: string, gate: GateResult['class']): GateResult => ({
    ...{ name, class: gate, passed: !failed.includes(name), status: failed.includes(name) ? 'failed' : 'passed' },
    ...{ measured: '', required: '', scope: '' },
  });
  return [
    ...harness.map((name) => result(name, 'harness')),
    ...identification.map((name) => result(name, 'identification')),
  ];
}

/** The outcome of units of some conditions; failed gates by condition index hold for its whole group. */
export function outcome(
  conditions: readonly Condition[],
  units: readonly UnitSummary[],
  failed: Readonly<Record<number, readonly string[]>> = {},
): StudyOutcome {
  const gatesByGroup = new Map(conditions.map((each) => [gateGroup(each), gates()]));
  for (const each of conditions) if (failed[each.index]) gatesByGroup.set(gateGroup(each), gates(failed[each.index]));
  const study = new StudyOutcomes({ conditions });
  for (const each of units) study.add(each);
  return study.finish(gatesByGroup);
}

/** A range as an array. */
export const times = <Value>(count: number, make: (index: number) => Value): Value[] =>
  Array.from({ length: count }, (_, index) => make(index));

/** What changes in a unit. */
export type UnitChanges = Parameters<typeof unit>[2];

/** Units of the first prompts under one condition. */
export const prompts = (at: Condition, count: number, make: (index: number) => UnitChanges): UnitSummary[] =>
  times(count, (i) => unit(at, i, make(i)));

/** The verdict on one part of a claim, of one model or over all. */
export const verdictOn = (
  { verdicts }: StudyOutcome,
  claim: string,
  part: string,
  model: string | null = null,
): StudyVerdict => verdicts.find((each) => each.claim === claim && each.part === part && each.model === model)!;
export const finding = (study: StudyOutcome, claim: string, part: string, model: string | null = null) =>
  verdictOn(study, claim, part, model).verdict;
