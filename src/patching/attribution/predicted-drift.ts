/** Gains of the layers from what was measured, and the drift that they predict: see `amplification.ts`. */
import type { AmplificationRun, LayerStep } from './amplification.ts';

/** One layer's gain over the steps of one or several prompts; null where no difference ever entered. */
export interface LayerGain {
  layer: number;
  actual: number | null;
  random: number | null;
  /** Steps in which a difference entered. */
  steps: number;
}

/** What the gains predict beside what was observed. */
export interface DriftPrediction {
  /** Root mean square of D over steps: observed, and predicted with the gains of random and of actual differences. */
  observed: number;
  predictedRandom: number;
  predictedActual: number;
  /** D by decode step, runs one after the other. */
  steps: { observed: number; predictedRandom: number; predictedActual: number }[];
}

/** √(Σ ‖δ_out‖² / Σ ‖δ_in‖²) per layer. */
export function layerGains(runs: readonly AmplificationRun[]): LayerGain[] {
  const steps = runs.flatMap((run) => run.steps);
  return (steps[0] ?? []).map(({ layer }, i) => {
    const here = steps.map((step) => step[i]).filter(({ entering }) => entering > 0);
    return { layer, actual: gain(here), random: gain(here.flatMap(({ random }) => random)), steps: here.length };
  });
}

function gain(pairs: readonly { entering: number; leaving: number }[]): number | null {
  const squares = (of: (pair: (typeof pairs)[number]) => number) => pairs.reduce((sum, pair) => sum + of(pair) ** 2, 0);
  const entering = squares((pair) => pair.entering);
  return entering === 0 ? null : Math.sqrt(squares((pair) => pair.leaving) / entering);
}

/** Compose gains with what each layer adds at each step. A layer into which nothing ever entered passes nothing on. */
export function predictDrift(runs: readonly AmplificationRun[]): DriftPrediction {
  const gains = layerGains(runs);
  const steps = runs.flatMap((run) =>
    run.steps.map((layers, step) => ({
      observed: run.observed[step],
      predictedRandom: compose(
        layers,
        gains.map(({ random }) => random ?? 0),
      ),
      predictedActual: compose(
        layers,
        gains.map(({ actual }) => actual ?? 0),
      ),
    })),
  );
  const rms = (of: (step: (typeof steps)[number]) => number) =>
    Math.sqrt(steps.reduce((sum, step) => sum + of(step) ** 2, 0) / steps.length);
  return {
    observed: rms(({ observed }) => observed),
    predictedRandom: rms(({ predictedRandom }) => predictedRandom),
    predictedActual: rms(({ predictedActual }) => predictedActual),
    steps,
  };
}

/** d² ← (g d)² + a² + h², layer by layer. */
function compose(layers: readonly LayerStep[], gains: readonly number[]): number {
  const pass = (drift: number, { added, viaHistory }: LayerStep, i: number) =>
    Math.hypot(gains[i] * drift, added, viaHistory);
  return layers.reduce(pass, layers[0].entering);
}
