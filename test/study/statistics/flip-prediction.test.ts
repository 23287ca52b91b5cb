import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../../src/numerics/random.ts';
import { type PromptSteps, predictFlips } from '../../../src/study/statistics/flip-prediction.ts';

/** Steps whose runner-up moves by a normal shift: it flips where the shift exceeds the margin. */
function simulated(prompts: number, steps: number, sigma: number): PromptSteps[] {
  const stream = new RandomStream(5, 'flip-prediction');
  return Array.from({ length: prompts }, () => {
    const margins = Array.from({ length: steps }, () => 4 * sigma * stream.uniform());
    const shifts = margins.map(() => sigma * stream.normal());
    return { margins, shifts, flipped: margins.map((margin, i) => shifts[i] > margin) };
  });
}

const steps = (margins: number[], shifts: number[], flips: number[] = []): PromptSteps => ({
  margins,
  shifts,
  flipped: margins.map((_, i) => flips.includes(i)),
});

describe('predicted flips', () => {
  it('σ comes from the other prompts', () => {
    // Of a: σ² = (0 + 8)/2 = 4 of b; of b: σ² = (1 + 1)/2 of a.
    const found = predictFlips([steps([2, 4], [1, -1]), steps([1, 2], [0, Math.sqrt(8)])])!;
    // Φ(−1) + Φ(−2) for each.
    expect(found.predicted).toBeCloseTo(2 * (0.15865525393145705 + 0.022750131948179212), 12);
    expect(found.steps).toBe(4);
  });

  it('a prompt that alone drifts predicts nothing for itself', () => {
    const found = predictFlips([steps([0.1], [5], [0]), steps([0.1], [0])])!;
    // σ of the first is 0: no flip expected. σ of the second is 5.
    expect(found.predicted).toBeCloseTo(0.49202168628309806, 12);
    expect(found.observed).toBe(1);
  });

  it('on simulated drift the prediction holds, bin by bin', () => {
    const found = predictFlips(simulated(200, 100, 0.02))!;
    // E Φ(−u) over u in 0 … 4: 1/(4 √(2π)) − tail: 0.0997 of 20,000 steps.
    expect(found.predicted / found.steps).toBeCloseTo(0.0997, 2);
    expect(found.ratio!.lower!).toBeLessThan(1);
    expect(found.ratio!.upper!).toBeGreaterThan(1);
    const off = found.calibration.filter(
      ({ steps, predicted, observed }) => predicted / steps < observed.lower! || predicted / steps > observed.upper!,
    );
    // 95 % intervals of independent bins: one outside is no surprise.
    expect(off.length).toBeLessThanOrEqual(1);
    expect(found.auc!).toBeGreaterThan(0.85);
    expect(found.calibration.reduce((sum, bin) => sum + bin.flips, 0)).toBe(found.observed);
  });

  it('on drift that does not reach the margins it is seen to be wrong', () => {
    const quiet = simulated(60, 50, 0.02).map((prompt) => ({ ...prompt, flipped: prompt.margins.map(() => false) }));
    const found = predictFlips(quiet)!;
    expect(found.ratio!.upper!).toBeLessThan(1);
  });

  it('exact ties are apart, and ranking is null below 10 flips', () => {
    const found = predictFlips([steps([0, 1], [1, 1], [0]), steps([0, 1], [1, 1])])!;
    expect(found.tied).toEqual({ steps: 2, flips: 1 });
    expect(found).toMatchObject({ steps: 2, observed: 0, auc: null });
    const nine = Array.from({ length: 9 }, () => steps([0.1, 9], [1, 0], [0]));
    expect(predictFlips(nine)!.auc).toBeNull();
    expect(predictFlips([...nine, nine[0]])!.auc).toBe(1);
  });

  it('is null without another prompt', () => {
    expect(predictFlips([steps([1], [1])])).toBeNull();
    expect(predictFlips([steps([1], [1]), steps([], [])])).toBeNull();
  });
});
