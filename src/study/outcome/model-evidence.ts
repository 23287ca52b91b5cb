/** What C3, C4 and C5 read: drift, flips and patched cells of one model under one precision and one kernel preset. */
import type { RoundingPolicy } from '../../graph/rounding.ts';
import type { C3Evidence, FlippedPrompts } from '../claims/c3.ts';
import type { C4Contrast, C4Evidence, C4Model } from '../claims/c4.ts';
import type { C5Evidence, RecoveryByHorizon } from '../claims/c5.ts';
import { armGates } from '../claims/claim.ts';
import { decadesOf, flippedShare, recoveryOf } from '../claims/evidence.ts';
import { estimateOf, type RatioUnit } from '../statistics/measured.ts';
import type { CellSums } from '../unit/unit-summary.ts';
import type { ConditionRecord } from './condition-record.ts';
import { orderMatchedOutcome } from './drift.ts';
import { layerProfile } from './layer-profile.ts';
import { accumulatesInSingle, foldsHeads, isSingle, isWideActivations } from './precisions.ts';
import { byPrompt, type Family, type ModelRecords, type StudyView, scopeOf } from './study-view.ts';
import { isKeyed } from './text-evidence.ts';

/** Metrics in which C3 b may hold, by their column in steps.arrow. */
const metrics = { logits_l2_centred: 'l2Centred', kl: 'kl' } as const;

/** The runs that C3 sets beside half precision. */
export interface Comparison {
  half: readonly ConditionRecord[];
  single: readonly ConditionRecord[] | null;
  wide: readonly ConditionRecord[] | null;
  control: ModelRecords | null;
  /** Precisions left out of a verdict, each with the gates that it fails. */
  doubted: readonly string[];
}

/**
 * `verdict`: a control is left out where a gate that comparing its arms rests on failed or was not run. `figures`: the control
 * alone, whatever its gates, since numbers are printed even so.
 */
type Purpose = 'verdict' | 'figures';

/**
 * Half precision, its control, and wide activations, under the strategies that all of them have. Conditions whose draws are
 * not keyed alike are left out: they flip in any precision.
 */
export function compare(view: StudyView, half: ModelRecords, purpose: Purpose): Comparison {
  const keyed = (model: ModelRecords | null) => model?.records.filter(isKeyed) ?? [];
  let strategies = new Set(keyed(half).map(strategyKey));
  const withCommon = (other: ModelRecords | null) => {
    const has = new Set(keyed(other).map(strategyKey));
    const common = [...strategies].filter((key) => has.has(key));
    if (common.length === 0) return null;
    strategies = new Set(common);
    return other;
  };
  const judged = purpose === 'verdict';
  const doubted: string[] = [];
  const beside = (fits: (policy: RoundingPolicy) => boolean) => {
    const other = view.beside(half, fits);
    const failed = judged ? (other?.doubts.filter((name) => armGates.includes(name)) ?? []) : [];
    if (other === null || failed.length === 0) return withCommon(other);
    doubted.push(`${other.policy.name} (${failed.join(', ')})`);
    return null;
  };
  const control = beside(isSingle);
  // For figures alone it would narrow the strategies.
  const wide = judged ? beside((policy) => isWideActivations(policy, half.policy)) : null;
  const shared = (model: ModelRecords) => keyed(model).filter((record) => strategies.has(strategyKey(record)));
  return { half: shared(half), single: control && shared(control), wide: wide && shared(wide), control, doubted };
}

function strategyKey({ condition: { strategyName, padding } }: ConditionRecord): string {
  return JSON.stringify([strategyName, padding]);
}

export function c3Evidence(view: StudyView, half: ModelRecords): C3Evidence {
  const { half: own, single, wide, control, doubted } = compare(view, half, 'verdict');
  const matched = orderMatchedOutcome(half.records.flatMap(({ prompts }) => prompts));
  return {
    scope: scopeOf({ ...half, records: own.length > 0 ? own : half.records }, control?.policy ?? null, doubted),
    failedGates: half.doubts,
    half: flipped(own),
    single: single && flipped(single),
    wideActivations: wide && flipped(wide),
    decades: single === null ? {} : decades(own, single),
    orderMatched: {
      ...{ steps: matched?.steps ?? 0, differingElements: matched?.differingElements ?? 0 },
      padded: half.padding > 0,
    },
    singleAccumulation: accumulatesInSingle(half.kernels),
  };
}

/** Prompts with a flip under any of the strategies. */
export function flipped(records: readonly ConditionRecord[]): FlippedPrompts {
  const flips = byPrompt(
    records,
    () => ({ all: 0, plain: 0 }),
    (sums, { flips: { all, ties } }) => {
      sums.all += all;
      sums.plain += all - ties;
    },
  );
  const prompts = [...flips.values()];
  const count = (has: (sums: { all: number; plain: number }) => boolean) => prompts.filter(has).length;
  return flippedShare(
    count(({ all }) => all > 0),
    count(({ plain }) => plain > 0),
    prompts.length,
  );
}

/** log10 of Σ half over Σ single by metric, over prompts that both have under the same strategy; metrics without a figure are left out. */
export function decades(half: readonly ConditionRecord[], single: readonly ConditionRecord[]): C3Evidence['decades'] {
  const found = Object.entries(metrics).flatMap(([name, metric]) => {
    const estimate = decadesOf(pairedSums(half, single, metric));
    return estimate ? [[name, estimate] as const] : [];
  });
  return Object.fromEntries(found);
}

/** Σ of a distance in half over single precision, by prompt. */
export function pairedSums(
  half: readonly ConditionRecord[],
  single: readonly ConditionRecord[],
  metric: 'l2Centred' | 'kl',
): RatioUnit[] {
  const units = new Map<string, RatioUnit>();
  for (const record of half) {
    const other = single.find((control) => strategyKey(control) === strategyKey(record));
    const bottoms = new Map(other?.prompts.map(({ prompt, sums }) => [prompt, sums[metric]]));
    for (const { prompt, sums } of record.prompts) {
      const bottom = bottoms.get(prompt);
      if (bottom === undefined) continue;
      const unit = units.get(prompt) ?? { top: 0, bottom: 0 };
      unit.top += sums[metric];
      unit.bottom += bottom;
      units.set(prompt, unit);
    }
  }
  return [...units].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, unit]) => unit);
}

/** How `expandKeyValueHeads` names a model with one K/V head per query head. */
const expandedSuffix = ' (expanded KV)';

export function c4Evidence(view: StudyView, family: Family): C4Evidence {
  const models = view.models(family).map((model) => ({ model, evidence: c4Model(model) }));
  const folded = foldsHeads(family.kernels);
  const contrasts = models.flatMap(({ model: { model }, evidence: shared }): C4Contrast[] => {
    const expanded = models.find((other) => other.model.model.name === `${model.name}${expandedSuffix}`);
    const usable = folded && expanded !== undefined && shared.architecture === 'grouped-query';
    return usable ? [{ name: model.name, shared, expanded: expanded.evidence }] : [];
  });
  const voided = family.voided.map(({ model }) => model).filter((model) => architecture(model) !== 'other');
  return {
    scope: scopeOf(family),
    models: models.map(({ evidence }) => evidence),
    voided: [...new Set(voided.map(({ name }) => name))],
    ...{ contrasts, folded },
  };
}

function c4Model(records: ModelRecords): C4Model {
  const profile = layerProfile(records);
  return {
    name: records.model.name,
    scope: scopeOf(records),
    failedGates: records.doubts,
    architecture: architecture(records.model),
    sharpness: estimateOf(profile?.sharpness ?? null),
    unevenness: estimateOf(profile?.unevenness ?? null),
  };
}

/** A model whose heads were expanded is a contrast, not an architecture of the claim. */
function architecture({ name, family, heads, kvHeads }: ModelRecords['model']): C4Model['architecture'] {
  if (name.endsWith(expandedSuffix)) return 'other';
  if (family.startsWith('gemma')) return 'gemma';
  return kvHeads < heads ? 'grouped-query' : 'other';
}

export function c5Evidence(half: ModelRecords): C5Evidence {
  const cells = (fits: (cell: CellSums) => boolean) => recoveryByHorizon(half.records, fits);
  const matched = orderMatchedOutcome(half.records.flatMap(({ prompts }) => prompts));
  return {
    scope: scopeOf(half),
    failedGates: half.doubts,
    residual: cells(({ spec }) => spec === 'residual'),
    history: cells(
      ({ spec, history, kernel }) => spec === 'two-by-two' && history === 'recomputed' && kernel === 'decode',
    ),
    distance: matched && { ordinary: matched.ordinary, orderMatched: matched.distance },
  };
}

function recoveryByHorizon(records: readonly ConditionRecord[], fits: (cell: CellSums) => boolean): RecoveryByHorizon {
  const horizons = new Set<number>();
  for (const { prompts } of records) {
    for (const { cells } of prompts) for (const cell of cells ?? []) if (fits(cell)) horizons.add(cell.horizon);
  }
  return new Map(
    [...horizons]
      .sort((a, b) => a - b)
      .map((horizon) => [horizon, recoveryOf(cellUnits(records, (cell) => fits(cell) && cell.horizon === horizon))]),
  );
}

/** Σ patched over Σ base of the cells that fit, by prompt; prompts in which all of them are vacuous or by construction are left out. */
function cellUnits(records: readonly ConditionRecord[], fits: (cell: CellSums) => boolean): RatioUnit[] {
  const units = byPrompt(
    records,
    () => ({ top: 0, bottom: 0, cells: 0 }),
    (sums, { cells }) => {
      for (const cell of cells ?? []) {
        if (!fits(cell)) continue;
        sums.top += cell.patched;
        sums.bottom += cell.base;
        sums.cells += cell.cells;
      }
    },
  );
  return [...units.values()].filter(({ cells }) => cells > 0);
}
