/** What the steps and layers of one prompt's run add to a study: sums and counts over the teacher-forced steps after step 0. */
import { flipRateBound } from '../../divergence/metrics/logits.ts';
import type { ArmDrift, LayerRecord, PromptResult, StepRecord } from '../../divergence/rows.ts';
import { divergedAt } from './diverged-at.ts';
import type { FlipSummary, LayerSums, StepSums, UnitSummary } from './unit-summary.ts';

/** The part of a unit's summary that a prompt's run gives by itself. */
export type RunSummary = Pick<
  UnitSummary,
  | 'sums'
  | 'flips'
  | 'margins'
  | 'shifts'
  | 'divergedAt'
  | 'orderMatched'
  | 'temperatures'
  | 'layers'
  | 'uncached'
  | 'nonfinite'
>;

/** Sum up one prompt whose run had teacher-forced rows (mode `both` or `teacher-forced`). */
export function summarise(result: PromptResult): RunSummary {
  const forced = result.steps.filter(({ protocol }) => protocol === 'teacher-forced');
  const counted = forced.filter(({ step }) => step > 0);
  const { orderMatched, spotChecks, recomputed } = result;
  return {
    sums: stepSums(forced, counted),
    flips: counted.filter(({ flip }) => flip).map(flipSummary),
    margins: counted.map(({ logits }) => logits.uncached.margin),
    shifts: counted.map(({ logits }) => logits.topShift),
    divergedAt: divergedAt(result.tokensCached, result.tokensUncached),
    orderMatched: orderMatched && {
      steps: orderMatched.steps,
      differingElements: orderMatched.differingElements,
      distance: orderMatched.distance,
    },
    temperatures: result.temperatures,
    layers: layerSums(result.layers),
    uncached: { checked: spotChecks.steps, failed: spotChecks.failed, recomputed },
    nonfinite: result.nonfinite,
  };
}

/** @param forced all rows: whether something was measured must not depend on how many steps count */
function stepSums(forced: readonly StepRecord[], counted: readonly StepRecord[]): StepSums {
  const sum = (value: (row: StepRecord) => number) => counted.reduce((total, row) => total + value(row), 0);
  /** Null where a row has no value. */
  const measured = (value: (row: StepRecord) => number | null) =>
    forced.some((row) => value(row) === null) ? null : sum((row) => value(row) ?? 0);
  const drift = (of: (row: StepRecord) => ArmDrift | null) => {
    const [cached, uncached] = [
      measured((row) => of(row)?.cached ?? null),
      measured((row) => of(row)?.uncached ?? null),
    ];
    return cached === null || uncached === null ? null : { cached, uncached };
  };
  return {
    steps: counted.length,
    differing: counted.filter(({ logits }) => logits.nDiffer > 0).length,
    ties: counted.filter(isTie).length,
    l2Centred: sum(({ logits }) => logits.l2Centred),
    kl: sum(({ logits }) => logits.kl),
    js: sum(({ logits }) => logits.js),
    tv: sum(({ logits }) => logits.tv),
    tvProcessed: measured((row) => row.tvProcessed),
    tvProcessedUpper: measured((row) => (row.tvProcessed === null ? null : flipRateBound(row.tvProcessed))),
    errorCached: measured((row) => row.errorCached),
    errorUncached: measured((row) => row.errorUncached),
    single: drift((row) => row.drift.single),
    double: drift((row) => row.drift.double),
  };
}

/** An exact tie for the top raw logit in one arm. */
function isTie({ logits }: StepRecord): boolean {
  return logits.cached.tie || logits.uncached.tie;
}

function flipSummary(row: StepRecord): FlipSummary {
  return { step: row.step, margin: row.marginChoice, tie: isTie(row), boundary: row.boundary ?? false };
}

/** Kinds of the residual stream from the embedding to the final norm. */
const profileKinds: readonly string[] = ['embed', 'resid_post', 'ln_final.normalized'];

/** The residual stream by layer; null where no hook was compared. */
function layerSums(records: readonly LayerRecord[]): LayerSums[] | null {
  if (records.length === 0) return null;
  const byLayer = new Map<number, LayerSums>();
  for (const { kind, layer, step, statistics, added, viaHistory, viaResidual } of records) {
    if (!profileKinds.includes(kind)) continue;
    const sums = byLayer.get(layer) ?? newLayer(layer);
    byLayer.set(layer, sums);
    if (step === 0) continue;
    sums.steps += 1;
    if (statistics.n_differ === 0) sums.equal += 1;
    sums.relL2 += statistics.rel_l2;
    sums.relL2Squared += statistics.rel_l2 ** 2;
    if (added === null || viaHistory === null || viaResidual === null) continue;
    sums.added = (sums.added ?? 0) + added;
    sums.viaHistory = (sums.viaHistory ?? 0) + viaHistory;
    sums.viaResidual = (sums.viaResidual ?? 0) + viaResidual;
  }
  return [...byLayer.values()].sort((a, b) => a.layer - b.layer);
}

function newLayer(layer: number): LayerSums {
  return {
    ...{ layer, steps: 0, equal: 0, relL2: 0, relL2Squared: 0 },
    ...{ added: null, viaHistory: null, viaResidual: null },
  };
}
