/**
 * How many tokens should flip, given how far the logits drift: Σ Φ(−margin/σ).
 *
 * A greedy step flips to the runner-up if the cached arm moves it by more than the margin. σ comes from the steps of all
 * other prompts, never from the step itself: a σ fitted to the steps it predicts would predict their flips.
 */
import { normalDistribution } from '../../numerics/normal.ts';
import type { GreedyPrediction } from '../outcome/types.ts';
import { measuredRatio, measuredShare } from './measured.ts';
import { areaUnderCurve } from './ranking.ts';

/** One prompt's counted steps, in order. */
export interface PromptSteps {
  /** Top-2 margin of the uncached arm's raw logits. */
  margins: readonly number[];
  /** Gain of the runner-up on the top in the cached arm. */
  shifts: readonly number[];
  /** Whether the arms choose different tokens. */
  flipped: readonly boolean[];
}

/** Flips below which ranking them says nothing. */
const enoughFlips = 10;

/** Edges of the bins of predicted probability; Φ of a positive margin is below 1/2. */
const edges = [0, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5];

/** Predicted against observed flips; null below two prompts with steps, where no prompt has others. */
export function predictFlips(prompts: readonly PromptSteps[]): GreedyPrediction | null {
  const usable = prompts.map(({ margins, shifts, flipped }) =>
    margins.flatMap((margin, i) => {
      const finite = Number.isFinite(margin) && Number.isFinite(shifts[i]);
      return finite ? [{ margin, shift: shifts[i], flipped: flipped[i] }] : [];
    }),
  );
  const squares = usable.map((steps) => steps.reduce((sum, { shift }) => sum + shift ** 2, 0));
  const allSteps = usable.reduce((sum, steps) => sum + steps.length, 0);
  if (usable.filter((steps) => steps.length > 0).length < 2) return null;

  const found: { prompt: number; probability: number; score: number; flipped: boolean }[] = [];
  const tied = { steps: 0, flips: 0 };
  for (const [prompt, steps] of usable.entries()) {
    // Summed over the others, not subtracted from the total: where only this prompt drifts, the rest is exactly 0.
    const others = squares.reduce((sum, square, i) => (i === prompt ? sum : sum + square), 0);
    const sigma = Math.sqrt(others / (allSteps - steps.length));
    for (const { margin, flipped } of steps) {
      if (margin === 0) {
        tied.steps += 1;
        if (flipped) tied.flips += 1;
        continue;
      }
      // Without any drift elsewhere nothing is expected to flip, whatever the margin.
      const score = sigma > 0 ? -margin / sigma : -Number.MAX_VALUE;
      found.push({ prompt, probability: normalDistribution(score), score, flipped });
    }
  }
  const units = usable.map(() => ({ top: 0, bottom: 0 }));
  for (const { prompt, probability, flipped } of found) {
    units[prompt].top += flipped ? 1 : 0;
    units[prompt].bottom += probability;
  }
  const total = (part: 'top' | 'bottom') => units.reduce((sum, unit) => sum + unit[part], 0);
  const observed = total('top');
  return {
    kind: 'greedy',
    steps: found.length,
    observed,
    predicted: total('bottom'),
    ratio: measuredRatio(units),
    calibration: calibrate(found),
    auc:
      observed < enoughFlips
        ? null
        : areaUnderCurve(
            found.map(({ score }) => score),
            found.map(({ flipped }) => flipped),
          ),
    tied,
  };
}

/** Predicted and observed flips by predicted probability; bins without a step are left out. */
function calibrate(found: readonly { probability: number; flipped: boolean }[]): GreedyPrediction['calibration'] {
  const bins = edges.slice(1).map((to, i) => ({ from: edges[i], to, steps: 0, predicted: 0, flips: 0 }));
  for (const { probability, flipped } of found) {
    const bin = bins.find(({ to }) => probability < to) ?? bins[bins.length - 1];
    bin.steps += 1;
    bin.predicted += probability;
    bin.flips += flipped ? 1 : 0;
  }
  return bins
    .filter(({ steps }) => steps > 0)
    .map((bin) => ({ ...bin, observed: measuredShare(bin.flips, bin.steps) }));
}
