/** What a run's prompts leave for an explanation: which step to explain, and how far logits drift in the others. */
import type { PromptResult } from '../../divergence/rows.ts';
import type { Origin } from '../../divergence/summary.ts';
import type { PredictedDrift } from './types.ts';

/** The step that is explained. */
export interface ExplainTarget {
  promptIndex: number;
  prompt: string;
  step: number;
  flip: boolean;
  /** New tokens both arms were forced to read. */
  tokens: readonly number[];
  /** First differing operation of the prompt. */
  firstOrigin: Origin | null;
}

interface StepDrift {
  step: number;
  l2: number;
  maxAbs: number;
}

/** Collects teacher-forced steps; call `add` in the order of the prompts. */
export class DriftRecord {
  private readonly drifts = new Map<number, StepDrift[]>();
  private flip: ExplainTarget | null = null;
  private difference: ExplainTarget | null = null;

  add(result: PromptResult): void {
    const forced = result.steps.filter(({ protocol }) => protocol === 'teacher-forced');
    // Free-running alone has the teacher-forced rows up to the first flip.
    const rows = (forced.length > 0 ? forced : result.steps).filter(({ flip, step }) => flip !== null && step > 0);
    const target = (step: number, flip: boolean): ExplainTarget => ({
      ...{ promptIndex: result.index, prompt: result.prompt, step, flip, tokens: result.tokensUncached },
      firstOrigin: result.origins[0] ?? null,
    });
    const flip = rows.find((row) => row.flip);
    if (flip) this.flip ??= target(flip.step, true);
    const difference = rows.find((row) => row.differs);
    if (difference) this.difference ??= target(difference.step, false);
    const drifts = rows.map(({ step, logits }) => ({ step, l2: logits.l2Centred, maxAbs: logits.maxAbs }));
    this.drifts.set(result.index, drifts);
  }

  /** The first prompt's first flip; without any, the first step that differs in some bit. */
  get target(): ExplainTarget | null {
    return this.flip ?? this.difference;
  }

  /**
   * The drift that other prompts predict; of a run of one prompt, its other steps. Never from the step itself.
   * @param margin lead that a flip has to overcome
   */
  predict(target: ExplainTarget, margin: number, vocabSize: number): PredictedDrift | null {
    const others = [...this.drifts].filter(([index]) => index !== target.promptIndex);
    const from = others.length > 0 ? 'other prompts' : 'other steps';
    const own = (this.drifts.get(target.promptIndex) ?? []).filter(({ step }) => step !== target.step);
    const drifts = others.length > 0 ? others.flatMap(([, steps]) => steps) : own;
    if (drifts.length === 0) return null;
    const meanSquare = drifts.reduce((sum, { l2 }) => sum + (l2 * l2) / vocabSize, 0) / drifts.length;
    const largest = 2 * drifts.reduce((most, { maxAbs }) => Math.max(most, maxAbs), 0);
    return {
      ...{ sigma: Math.sqrt(2 * meanSquare), largest, steps: drifts.length },
      ...{ prompts: Math.max(1, others.length), from, inside: margin <= largest },
    };
  }
}
