/** How the arms of one prompt choose their tokens: by the same random numbers, or each by its own. */
import type { FloatArray } from '../model/arrays.ts';
import { type Decision, decide, type Strategy } from '../model/sampling/index.ts';
import type { Coupling } from '../study/definition/condition.ts';
import { bitEqual } from './counterfactual.ts';

/** The decisions of both arms at one step. */
export interface Decisions {
  cached: Decision;
  uncached: Decision;
}

/** Draws are keyed by the prompt's id; those of an independent cached arm by a name that no prompt has. */
export class Choices {
  private readonly strategy: Strategy;
  private readonly names: { cached: string; uncached: string };

  constructor(strategy: Strategy, prompt: string, coupling: Coupling) {
    this.strategy = strategy;
    // Ids of prompts hold no control character.
    this.names = { uncached: prompt, cached: coupling === 'independent' ? `${prompt}\u0000cached` : prompt };
  }

  of(arm: keyof Decisions, logits: FloatArray, step: number): Decision {
    return decide(logits, this.strategy, { prompt: this.names[arm], step });
  }

  /** Both at one step; equal logits under the same draws are decided once. */
  both(cached: FloatArray, uncached: FloatArray, step: number): Decisions {
    const decision = this.of('uncached', uncached, step);
    const { names } = this;
    if (names.cached === names.uncached && bitEqual(cached, uncached)) return { cached: decision, uncached: decision };
    return { cached: this.of('cached', cached, step), uncached: decision };
  }
}
