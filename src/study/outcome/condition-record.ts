/** One condition while its units arrive, and what is kept of it afterwards. */
import type { Condition } from '../definition/condition.ts';
import { DriftHistogram } from '../statistics/drift-histogram.ts';
import { type PromptSteps, predictFlips } from '../statistics/flip-prediction.ts';
import type { UnitSummary } from '../unit/unit-summary.ts';
import { type PromptRecord, recordOf } from './record.ts';
import type { GreedyPrediction } from './types.ts';

/** A condition whose units have all been seen: sums per prompt, ordered by prompt id whatever order they came in. */
export interface ConditionRecord {
  condition: Condition;
  prompts: readonly PromptRecord[];
  /** Greedy only. */
  prediction: GreedyPrediction | null;
  /** Of the placebo's drift: how many, the 99.9 % quantile, and the histogram. */
  placebo: { samples: number; drift: number | null; bins: [upper: number, count: number][] };
}

/** Units of one condition. The steps of its prompts are held only until it closes. */
export class OpenCondition {
  private readonly prompts: { record: PromptRecord; steps: PromptSteps }[] = [];
  private readonly seen = new Set<string>();
  private readonly drift = new DriftHistogram();
  readonly condition: Condition;

  constructor(condition: Condition) {
    this.condition = condition;
  }

  /** @throws RangeError for a second unit of one prompt, or steps that do not match its sums: a bug, never bad input. */
  add(unit: UnitSummary): void {
    if (this.seen.has(unit.prompt)) {
      throw new RangeError(`study outcomes: a second unit of prompt ${unit.prompt} in ${this.condition.name}`);
    }
    this.seen.add(unit.prompt);
    if (unit.placebo) this.drift.add(unit.placebo.drift);
    this.prompts.push({ record: recordOf(unit), steps: stepsOf(unit, this.condition) });
  }

  close(): ConditionRecord {
    // By id, as random draws are keyed: shards, limits and merges then agree to the bit.
    const sorted = this.prompts.toSorted((a, b) => (a.record.prompt < b.record.prompt ? -1 : 1));
    const greedy = this.condition.strategy.kind === 'greedy';
    return {
      condition: this.condition,
      prompts: sorted.map(({ record }) => record),
      prediction: greedy ? predictFlips(sorted.map(({ steps }) => steps)) : null,
      placebo: { samples: this.drift.samples, drift: this.drift.extreme, bins: this.drift.bins },
    };
  }
}

/** Margins, shifts and flips of the counted steps, which are 1 … steps. */
function stepsOf(unit: UnitSummary, condition: Condition): PromptSteps {
  const { margins, shifts, flips, sums, prompt } = unit;
  if (condition.strategy.kind !== 'greedy') return { margins: [], shifts: [], flipped: [] };
  const flipped = new Set(flips.map(({ step }) => step));
  const within = [...flipped].every((step) => step >= 1 && step <= sums.steps);
  if (margins.length !== sums.steps || shifts.length !== sums.steps || !within) {
    throw new RangeError(
      `study outcomes: ${margins.length} margins, ${shifts.length} shifts and flips at ${[...flipped]} for ${sums.steps} steps of prompt ${prompt} in ${condition.name}`,
    );
  }
  return { margins, shifts, flipped: margins.map((_, i) => flipped.has(i + 1)) };
}
