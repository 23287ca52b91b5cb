/** The result object of `diverge` from a run's summary. A failed harness gate leaves no measured number in it. */
import type { DivergenceSummary, FlipRow, Origin } from '../divergence/summary.ts';
import type { ExplainedArm, Explanation, StateFault } from '../patching/explain/types.ts';
import type { Result } from './contract.ts';
import { toMeasure } from './contract-parts.ts';

type DivergeResult = Result<'diverge'>;

/** What a run found, for programs. `run` is the run directory. */
export function divergeResult(
  summary: DivergenceSummary,
  run: string,
  explanation: Explanation | null = null,
): DivergeResult {
  const { model, precision, kernels, strategy, decodeRows, prompts, steps, gates, verdict, spotChecks, planted } =
    summary;
  const failed = gates.filter((gate) => !gate.passed).map(({ name }) => name);
  return {
    run,
    prompts,
    steps,
    ...(verdict === 'not-valid' ? nothing : measured(summary)),
    gates: { passed: failed.length === 0, failed, results: gates },
    verdict,
    model,
    precision,
    kernels,
    strategy,
    decodeRows,
    planted: [...planted],
    spotChecks,
    explain: explanation && explainResult(explanation),
  };
}

const nothing = {
  flips: null,
  flipRate: null,
  divergedPrompts: null,
  firstDivergence: null,
  differingSteps: null,
  tieFlips: null,
  firstFlipSteps: null,
  kl: null,
  tv: null,
  l2: null,
  oracle: null,
  drift: null,
  widestFlips: null,
  origins: null,
} satisfies Partial<DivergeResult>;

function measured(summary: DivergenceSummary): Pick<DivergeResult, keyof typeof nothing> {
  const { flips, steps, divergedPrompts, differingSteps, tieFlips, firstFlipSteps, firstDivergence, oracle } = summary;
  return {
    flips,
    flipRate: steps === 0 ? null : flips / steps,
    divergedPrompts,
    firstDivergence: firstDivergence && originResult(firstDivergence),
    differingSteps,
    tieFlips,
    firstFlipSteps,
    // Means over no step are no numbers.
    ...(steps === 0
      ? { kl: null, tv: null, l2: null }
      : { kl: toMeasure(summary.kl), tv: toMeasure(summary.tv), l2: toMeasure(summary.l2) }),
    oracle: oracle && { cached: toMeasure(oracle.cached), uncached: toMeasure(oracle.uncached) },
    drift: summary.drift.map(({ label, bins, rms, max, added, equalShare }) => ({
      label,
      bins: bins.map((bin) => (bin === null ? null : toMeasure(bin))),
      rms: toMeasure(rms),
      max: toMeasure(max),
      added: added === null ? null : toMeasure(added),
      equalShare,
    })),
    widestFlips: summary.widestFlips.map(({ uncached, cached, ...place }) => ({
      ...place,
      uncached: sideResult(uncached),
      cached: sideResult(cached),
    })),
    origins: summary.origins.map(originResult),
  };
}

function explainResult({ verdict, step }: Explanation): NonNullable<DivergeResult['explain']> {
  if (step === null) return { verdict, step };
  const { uncached, cached, drift, predicted, firstOrigin, stepOrigin, cells, orderMatched, state, later } = step;
  return {
    verdict,
    step: {
      ...step,
      ...{ uncached: armResult(uncached), cached: armResult(cached) },
      drift: {
        l2: toMeasure(drift.l2),
        maxAbs: toMeasure(drift.maxAbs),
        pair: drift.pair === null ? null : toMeasure(drift.pair),
      },
      predicted: predicted && {
        ...predicted,
        ...{ sigma: toMeasure(predicted.sigma), largest: toMeasure(predicted.largest) },
      },
      firstOrigin: firstOrigin && originResult(firstOrigin),
      stepOrigin: stepOrigin && originResult(stepOrigin),
      cells: cells.map((cell) => ({ ...cell, l2: toMeasure(cell.l2) })),
      orderMatched: { ...orderMatched, first: orderMatched.first && originResult(orderMatched.first) },
      ...{ state: stateResult(state), later: stateResult(later) },
    },
  };
}

function stateResult(state: StateFault | null) {
  if (state?.factor === undefined) return state && { ...state, factor: undefined };
  const { value, low, high } = state.factor;
  return { ...state, factor: { value: toMeasure(value), low: toMeasure(low), high: toMeasure(high) } };
}

function armResult({ margin, top, ...arm }: ExplainedArm) {
  return { ...arm, margin: toMeasure(margin), top: top.map((each) => ({ ...each, logit: toMeasure(each.logit) })) };
}

function originResult({ maxUlp, ...origin }: Origin) {
  return { ...origin, maxUlp: toMeasure(maxUlp) };
}

function sideResult({ margin, ...side }: FlipRow['cached']) {
  return { ...side, margin: toMeasure(margin) };
}
