/** The Arrow tables of an attribution, filled prompt by prompt; those that the spec asks for. */
import type { RunSubject } from '../../../divergence/run-subject.ts';
import { SharedTables } from '../../../divergence/shared-tables.ts';
import { operationClasses } from '../../../graph/kernels.ts';
import { places } from '../../../graph/rounding.ts';
import type { TableWriter } from '../../../store/arrow-writer.ts';
import type { TableName } from '../../../store/schemas.ts';
import type { AttributionSpec, Measurement } from '../../specification/attribution-spec.ts';
import type { AmplificationRun, LayerStep } from '../amplification.ts';
import { attributeClasses } from '../class-game.ts';
import { predictDrift } from '../predicted-drift.ts';
import { gameOf, rootMeanSquare } from './pooled.ts';
import type { AttributedPrompt, NullRuns } from './prompt.ts';

/** Writes what was attributed beside the tables every run has. */
export class AttributionTables extends SharedTables {
  private readonly open: {
    [T in 'classes' | 'subsets' | 'places' | 'gains' | 'predictions' | 'nulls']: TableWriter<T> | null;
  };
  private readonly spec: string;

  constructor(subject: RunSubject, identity: unknown, spec: AttributionSpec) {
    super(subject, identity, []);
    this.spec = spec.name;
    const prompt = subject.prompts.map(({ id }) => id);
    const keys = { condition: [this.condition], prompt, spec: [spec.name] };
    const history = ['recomputed', 'cached'];
    const table = <T extends TableName>(
      name: T,
      of: readonly Measurement[],
      words: Record<string, readonly string[]>,
    ) => {
      if (!of.some((one) => spec.of.includes(one))) return null;
      this.count(name, 0);
      return subject.run.table(name, identity, { ...keys, ...words });
    };
    this.open = {
      classes: table('classes', ['classes'], { history, class: operationClasses }),
      subsets: table('subsets', ['classes'], { history }),
      places: table('places', ['places'], { place: places }),
      gains: table('gains', ['amplification'], {}),
      predictions: table('predictions', ['amplification'], {}),
      nulls: table('nulls', ['placebo', 'random-ulp'], { null: ['placebo', 'random-ulp'] }),
    };
  }

  /** Add the rows of one prompt. */
  add(result: AttributedPrompt): void {
    if (result.steps === 0) return;
    const key = { condition: this.condition, prompt: result.prompt, spec: this.spec };
    this.addClasses(key, result);
    this.addPlaces(key, result);
    if (result.amplification) this.addGains(key, result.amplification);
    if (result.placebo) this.addNull(key, 'placebo', result.placebo, result.observed);
    if (result.randomUlp) this.addNull(key, 'random-ulp', result.randomUlp, result.observed);
  }

  private addClasses(key: Key, { classes, steps }: AttributedPrompt): void {
    for (const { history, worth } of classes) {
      // Sums, not means: rows of several prompts add up.
      const { shares, all, none } = attributeClasses({ ...gameOf(history, worth), steps: 1 });
      for (const { operation, shapley, oneIn, leaveOneOut } of shares) {
        const values = { shapley, one_in: oneIn, leave_one_out: leaveOneOut, drift_all: all, drift_none: none };
        this.open.classes?.add({ ...key, history, steps, class: operation, ...values });
      }
      this.count('classes', shares.length);
      for (const [subset, drift] of worth.entries()) this.open.subsets?.add({ ...key, history, subset, drift });
      this.count('subsets', worth.length);
    }
  }

  private addPlaces(key: Key, { places: found, steps }: AttributedPrompt): void {
    if (!found) return;
    const { all, none, shares } = found;
    for (const { place, oneIn, leaveOneOut } of shares) {
      const values = { one_in: oneIn, leave_one_out: leaveOneOut, drift_all: all, drift_none: none };
      this.open.places?.add({ ...key, steps, place, ...values });
    }
    this.count('places', shares.length);
  }

  private addGains(key: Key, run: AmplificationRun): void {
    for (const [at, layers] of run.steps.entries()) {
      for (const { layer, entering, leaving, added, viaHistory, random } of layers) {
        const mean = (of: (draw: LayerStep['random'][number]) => number) =>
          random.length === 0 ? null : rootMeanSquare(random.map(of));
        this.open.gains?.add({
          ...{ ...key, step: at + 1, layer, delta_in: entering, delta_out: leaving, added, via_history: viaHistory },
          random_in: mean((draw) => draw.entering),
          random_out: mean((draw) => draw.leaving),
        });
      }
      this.count('gains', layers.length);
    }
    for (const [at, { observed, predictedActual, predictedRandom }] of predictDrift([run]).steps.entries()) {
      const predicted = { predicted_actual: predictedActual, predicted_random: predictedRandom };
      this.open.predictions?.add({ ...key, step: at + 1, observed, ...predicted });
    }
    this.count('predictions', run.steps.length);
  }

  private addNull(key: Key, name: string, { seeds, distances }: NullRuns, observed: readonly number[]): void {
    for (const [i, seed] of seeds.entries()) {
      for (const [at, distance] of distances[i].entries()) {
        this.open.nulls?.add({ ...key, null: name, seed, step: at + 1, distance, observed: observed[at] });
      }
      this.count('nulls', distances[i].length);
    }
  }
}

interface Key {
  condition: string;
  prompt: string;
  spec: string;
}
