/**
 * What an attribution found over all prompts. Values are means over decode steps of all prompts in the unit of D (L2 of
 * mean-centred logits); shares are ratios of sums with a bootstrap by prompt.
 */
import type { ModelConfig } from '../../../checkpoint/types.ts';
import type { GateResult } from '../../../divergence/summary.ts';
import { type OperationClass, operationClasses } from '../../../graph/kernels.ts';
import type { Place } from '../../../graph/rounding.ts';
import { bootstrapRatio, type Interval } from '../../../numerics/bootstrap.ts';
import { quantile } from '../../../numerics/quantile.ts';
import { type NullSummary, summariseNull } from '../../nulls/distances.ts';
import { type AttributionSpec, settingsOf } from '../../specification/attribution-spec.ts';
import { attributeClasses, type GameHistory } from '../class-game.ts';
import { type DriftPrediction, type LayerGain, layerGains, predictDrift } from '../predicted-drift.ts';
import { gameOf, rootMeanSquare, sum } from './pooled.ts';
import type { AttributedPrompt, NullRuns } from './prompt.ts';

/** One class's part. */
export interface ClassPart {
  operation: OperationClass;
  shapley: number;
  /** Of v(all) − v(∅); null where that is 0. */
  share: number | null;
  interval: Interval | null;
  oneIn: number;
  leaveOneOut: number;
}

export interface ClassesSummary {
  history: GameHistory;
  all: number;
  none: number;
  parts: ClassPart[];
}

export interface PlacesSummary {
  all: number;
  none: number;
  parts: { place: Place; oneIn: number; leaveOneOut: number }[];
}

export interface GainsSummary {
  /** By layer; the last is the final norm and unembedding. */
  layers: (LayerGain & { label: string })[];
  /** Root mean square of D over steps. Gains are each prompt's own. */
  drift: Omit<DriftPrediction, 'steps'>;
  /** Predicted over observed, by step: quantiles over steps that drift; null without one. */
  ratio: { q05: number; q50: number; q95: number } | null;
}

/** A null beside the drift that was observed. */
export interface NullFound extends NullSummary {
  null: 'placebo' | 'random-ulp';
  /** Mean D of the cached arm. */
  observed: number;
  /** Seeds whose run drifts less, in the mean, than the cached arm does. */
  below: number;
  /** Largest mean of a seed: the noise ceiling. */
  ceiling: number;
  /** Decode steps whose D exceeds the 99.9 % quantile of the null's. */
  beyond: number;
  /** Of the placebo: classes that were permuted, on some prompt. Of random ulps: elements flipped per step and seed. */
  classes: OperationClass[];
  /** Of the placebo: prompts on which the decode kernel changes no bit, so that no class was permuted and D is 0. */
  unaffected: number;
  flipped: number | null;
}

/** What a run of the experiment `attribution` found; parts that the spec does not ask for are empty or null. */
export interface AttributionSummary {
  model: string;
  precision: string;
  kernels: string;
  emulated: boolean;
  strategy: string;
  decodeRows: number;
  spec: AttributionSpec;
  prompts: number;
  /** Decode steps of all prompts that were looked at, and those of them that drift. */
  steps: number;
  driftingSteps: number;
  /** Mean D of the cached arm over steps. */
  observed: number;
  classes: ClassesSummary[];
  places: PlacesSummary | null;
  gains: GainsSummary | null;
  nulls: NullFound[];
  gates: GateResult[];
  spotChecks: { steps: number; failed: number };
  valid: boolean;
}

type Found = Pick<
  AttributionSummary,
  'prompts' | 'steps' | 'driftingSteps' | 'observed' | 'classes' | 'places' | 'gains' | 'nulls' | 'spotChecks'
>;

/** Adds up prompts; call in their order. */
export class AttributionSums {
  private readonly results: AttributedPrompt[] = [];
  private readonly spec: AttributionSpec;
  private prompts = 0;

  constructor(spec: AttributionSpec) {
    this.spec = spec;
  }

  add(result: AttributedPrompt): void {
    this.prompts += 1;
    if (result.steps > 0) this.results.push(result);
  }

  /** Decode steps so far. */
  get steps(): number {
    return sum(this.results.map(({ steps }) => steps));
  }

  summary({ layers }: ModelConfig): Found {
    const { results, steps } = this;
    const observed = results.flatMap((result) => result.observed);
    const asked = settingsOf(this.spec).histories.filter(() => this.spec.of.includes('classes'));
    return {
      ...{ prompts: this.prompts, steps, driftingSteps: observed.filter((distance) => distance > 0).length },
      observed: steps === 0 ? 0 : sum(observed) / steps,
      classes: steps === 0 ? [] : asked.map((history) => this.classes(history)),
      places: this.places(),
      gains: this.gains(layers),
      nulls: [
        ...this.nullFound('placebo', ({ placebo }) => placebo),
        ...this.nullFound('random-ulp', ({ randomUlp }) => randomUlp),
      ],
      spotChecks: {
        steps: sum(results.map(({ spotChecks }) => spotChecks.steps)),
        failed: sum(results.map(({ spotChecks }) => spotChecks.failed)),
      },
    };
  }

  private classes(history: GameHistory): ClassesSummary {
    const played = this.results.map(({ classes }) => classes.find((game) => game.history === history)?.worth ?? []);
    const byPrompt = played.map((worth) => attributeClasses(gameOf(history, worth)));
    const total = played[0].map((_, subset) => sum(played.map((worth) => worth[subset])));
    const { all, none, shares } = attributeClasses(gameOf(history, total, this.steps));
    const parts = shares.map(({ operation, shapley, oneIn, leaveOneOut }, i) => {
      const units = byPrompt.map((one) => ({ top: one.shares[i].shapley, bottom: one.all - one.none }));
      const share = all === none ? null : shapley / (all - none);
      return { operation, shapley, share, interval: share === null ? null : bootstrapRatio(units), oneIn, leaveOneOut };
    });
    return { history, all, none, parts };
  }

  private places(): PlacesSummary | null {
    const found = this.results.map(({ places }) => places).filter((places) => places !== null);
    if (found.length === 0) return null;
    const mean = (values: readonly number[]) => sum(values) / this.steps;
    return {
      all: mean(found.map(({ all }) => all)),
      none: mean(found.map(({ none }) => none)),
      parts: found[0].shares.map(({ place }, i) => ({
        place,
        oneIn: mean(found.map(({ shares }) => shares[i].oneIn)),
        leaveOneOut: mean(found.map(({ shares }) => shares[i].leaveOneOut)),
      })),
    };
  }

  private gains(layers: number): GainsSummary | null {
    const runs = this.results.map(({ amplification }) => amplification).filter((run) => run !== null);
    if (runs.length === 0) return null;
    // A prompt is predicted from its own gains; they are shown over all prompts.
    const steps = runs.flatMap((run) => predictDrift([run]).steps);
    const ratios = steps.filter(({ observed }) => observed > 0).map((step) => step.predictedActual / step.observed);
    const at = (q: number) => quantile(ratios, q);
    return {
      layers: layerGains(runs).map((gain) => ({
        ...gain,
        label: gain.layer === layers ? 'unembed' : `L${gain.layer}`,
      })),
      drift: {
        observed: rootMeanSquare(steps.map(({ observed }) => observed)),
        predictedActual: rootMeanSquare(steps.map(({ predictedActual }) => predictedActual)),
        predictedRandom: rootMeanSquare(steps.map(({ predictedRandom }) => predictedRandom)),
      },
      ratio: ratios.length === 0 ? null : { q05: at(0.05), q50: at(0.5), q95: at(0.95) },
    };
  }

  private nullFound(
    name: NullFound['null'],
    of: (result: AttributedPrompt) => (NullRuns & { classes?: string[]; flipped?: number[] }) | null,
  ): NullFound[] {
    const runs = this.results.map(of).filter((run) => run !== null);
    if (runs.length === 0) return [];
    // One row per seed: its run over all prompts.
    const distances = runs[0].seeds.map((_, i) => runs.flatMap((run) => run.distances[i]));
    const found = summariseNull(distances);
    const observed = this.results.flatMap((result) => result.observed);
    const means = distances.map((row) => sum(row) / row.length);
    const mean = sum(observed) / observed.length;
    const flips = runs.flatMap(({ flipped }) => flipped ?? []);
    return [
      {
        ...{ null: name, ...found, observed: mean, ceiling: Math.max(...means) },
        below: means.filter((one) => one < mean).length,
        beyond: observed.filter((distance) => distance > found.quantiles.q999).length,
        classes: operationClasses.filter((one) => runs.some(({ classes }) => classes?.includes(one))),
        unaffected: runs.filter(({ classes }) => classes?.length === 0).length,
        flipped: name === 'placebo' ? null : sum(flips) / (found.seeds * found.steps),
      },
    ];
  }
}
