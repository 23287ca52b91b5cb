/** When and how often tokens and texts part. */
import { quantile } from '../../numerics/quantile.ts';
import type { Condition } from '../definition/condition.ts';
import { cumulativeIncidence, type Wait } from '../statistics/incidence.ts';
import { incidenceIntervals } from '../statistics/incidence-intervals.ts';
import { largestUnseen, measuredRatio, measuredShare } from '../statistics/measured.ts';
import { leansFurther } from '../unit/own-placebo.ts';
import type { FlipSummary } from '../unit/unit-summary.ts';
import type { PromptRecord, TextEnd } from './record.ts';
import type { FirstDivergence, FlipRate, Measured, SampledPrediction, SequenceDivergence } from './types.ts';

/** Steps at which cumulative incidence is given, as far as texts reach. */
const shownSteps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const widestShown = 10;

export function sequenceDivergence(prompts: readonly PromptRecord[]): SequenceDivergence {
  const count = (end: TextEnd) => prompts.filter(({ text }) => text === end).length;
  const diverged = count('diverged');
  return {
    diverged,
    equalToEnd: count('equal-to-end'),
    equalAtLimit: count('equal-at-limit'),
    share: measuredShare(diverged, prompts.length),
  };
}

/** How the wait for a divergence ends, by how texts compare. */
export const waitEnds = { diverged: 'event', 'equal-to-end': 'competing', 'equal-at-limit': 'censored' } as const;

/** First divergences and the first flips that explain them. */
export function firstDivergence(prompts: readonly PromptRecord[], suspectAbove: number | null): FirstDivergence {
  const waits = prompts.map(({ text, lastStep }): Wait => ({ step: lastStep, end: waitEnds[text] }));
  const longest = waits.reduce((most, { step }) => Math.max(most, step), 0);
  const steps = [...shownSteps.filter((step) => step < longest), longest];
  const { at, median } = incidenceIntervals(waits, steps);
  const curve = cumulativeIncidence(waits);
  const first = firstFlips(prompts, suspectAbove);
  const leads = first.all.flatMap(({ flip }) => flip.margin ?? []);
  const wide = first.all
    .flatMap(({ flip, suspect, prompt }) =>
      flip.margin === null
        ? []
        : [{ prompt: prompt.prompt, step: flip.step, margin: flip.margin, suspect, planted: prompt.planted }],
    )
    .sort((a, b) => b.margin - a.margin);
  return {
    incidence: curve.map(({ step, event, competing, atRisk }) => ({ step, diverged: event, ended: competing, atRisk })),
    at: at.map(({ step, event }) => ({ step, diverged: event })),
    median,
    margins:
      leads.length === 0
        ? null
        : {
            count: leads.length,
            min: quantile(leads, 0),
            median: quantile(leads, 0.5),
            max: quantile(leads, 1),
          },
    withoutMargin: first.withoutMargin,
    boundary: first.boundary,
    ties: first.ties,
    unexplained: first.unexplained,
    suspectAbove,
    suspects: first.suspects,
    notExplained: first.notExplained,
    widest: wide.slice(0, widestShown),
  };
}

/** The first flips of texts that diverged, by what can be said of them. */
export interface FirstFlips {
  all: { prompt: PromptRecord; flip: FlipSummary; suspect: boolean | null }[];
  suspects: number | null;
  notExplained: FirstDivergence['notExplained'];
  withoutMargin: number;
  boundary: number;
  ties: number;
  unexplained: number;
}

/**
 * A first flip is suspect if its margin exceeds what the placebo's drift reaches. One that the cut of top-k or top-p decided, or
 * that has no margin, never is: there is no lead to compare.
 */
export function firstFlips(prompts: readonly PromptRecord[], suspectAbove: number | null): FirstFlips {
  const diverged = prompts.filter(({ text }) => text === 'diverged');
  const all = diverged.flatMap((prompt) => {
    const flip = prompt.flips.first;
    if (flip === null || flip.step !== prompt.divergedAt) return [];
    const exempt = flip.boundary || flip.margin === null;
    const suspect = exempt ? false : suspectAbove === null ? null : (flip.margin ?? 0) > suspectAbove;
    return [{ prompt, flip, suspect }];
  });
  const suspects = all.filter(({ suspect }) => suspect);
  return {
    all,
    suspects: suspectAbove === null ? null : suspects.length,
    notExplained: suspectAbove === null ? null : notExplained(suspects),
    withoutMargin: all.filter(({ flip }) => flip.margin === null).length,
    boundary: all.filter(({ flip }) => flip.boundary).length,
    ties: all.filter(({ flip }) => flip.tie).length,
    unexplained: diverged.length - all.length,
  };
}

function notExplained(suspects: FirstFlips['all']): FirstDivergence['notExplained'] {
  const left = suspects.filter(({ flip, prompt }) => !leansFurther(flip, prompt.placebo?.largest ?? null));
  const alone = left.filter(({ prompt }) => (prompt.placebo?.largest ?? null) === null).length;
  return { withoutPlacebo: alone, withinPlacebo: left.length - alone };
}

export function flipRate(prompts: readonly PromptRecord[]): FlipRate {
  const total = (count: (prompt: PromptRecord) => number) => prompts.reduce((sum, prompt) => sum + count(prompt), 0);
  const perStep = (count: (prompt: PromptRecord) => number): Measured | null => {
    const rate = measuredRatio(prompts.map((prompt) => ({ top: count(prompt), bottom: prompt.sums.steps })));
    // Drawing prompts without a flip again finds none: that bounds nothing.
    return rate?.value === 0 ? { value: 0, lower: 0, upper: null } : rate;
  };
  const flips = total((prompt) => prompt.flips.all);
  const steps = total(({ sums }) => sums.steps);
  const watched = prompts.filter(({ sums }) => sums.steps > 0).length;
  return {
    flips,
    ties: total((prompt) => prompt.flips.ties),
    boundary: total((prompt) => prompt.flips.boundary),
    perToken: perStep((prompt) => prompt.flips.all),
    plainPerToken: perStep(({ flips: { all, ties, boundary } }) => all - ties - boundary),
    none: flips === 0 && steps > 0 ? { prompts: largestUnseen(watched), steps: largestUnseen(steps) } : null,
  };
}

/** The observed flip rate of a sampled condition beside the bounds that its coupling promises. */
export function sampledPrediction(prompts: readonly PromptRecord[], condition: Condition): SampledPrediction {
  const { strategy } = condition;
  const drawn = strategy.kind === 'greedy' ? 'gumbel' : strategy.sampler;
  const coupling = condition.coupling === 'independent' ? 'independent' : drawn;
  const { perToken: observed, none } = flipRate(prompts);
  const measured = prompts.filter(({ sums }) => sums.tvProcessed !== null && sums.tvProcessedUpper !== null);
  const mean = (name: 'tvProcessed' | 'tvProcessedUpper') =>
    measuredRatio(measured.map(({ sums }) => ({ top: sums[name] ?? 0, bottom: sums.steps })));
  const [lower, upper] = [mean('tvProcessed'), mean('tvProcessedUpper')];
  const known = coupling === 'gumbel' && observed !== null && lower !== null && upper !== null;
  return {
    kind: 'sampled',
    ...{ coupling, observed, lower, upper },
    // Draws of different steps are independent, so without a flip the bound over steps applies.
    within: known ? meets(observed, none?.steps ?? null, lower, upper) : null,
  };
}

function meets(observed: Measured, unseen: number | null, lower: Measured, upper: Measured): boolean {
  const most = observed.upper ?? unseen ?? observed.value;
  const least = observed.lower ?? observed.value;
  return most >= (lower.lower ?? lower.value) && least <= (upper.upper ?? upper.value);
}
