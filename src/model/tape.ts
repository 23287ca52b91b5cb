/**
 * Layer by layer: the same forward passes, ordered so that each weight is loaded once.
 *
 * A *program* is any code that makes forward passes whose tokens do not depend on earlier logits. It is run once per stage
 * (the embedding, each block, the unembedding), from the start and in full; each of its passes runs that one stage,
 * reading from the tape what the same pass, in the same place of the program, left there at the stage before. Beside one
 * stage's weights this needs the residual rows of every pass, and the captured tensors of one stage.
 */

import { kernelSignature } from '../graph/kernels.ts';
import type { FloatArray } from './arrays.ts';
import type { ForwardRequest, ForwardResult } from './plans.ts';

/** What one pass is, so that a program that takes another course is noticed, and its rows so far. */
interface Slot {
  signature: string;
  /** [1, pos, d_model], output of the stage before. */
  residual: FloatArray;
}

/** The order of the stages of a model with `layers` blocks: −1 is the embedding, `layers` the unembedding. */
export function stagesOf(layers: number): number[] {
  return Array.from({ length: layers + 2 }, (_, i) => i - 1);
}

/** The residual rows of a program's passes. */
export class Tape {
  /** The stage that runs: −1, a block, or `layers`. */
  stage = -1;
  private readonly layers: number;
  private readonly slots: Slot[] = [];
  private next = 0;

  constructor(layers: number) {
    this.layers = layers;
  }

  /** Begin a stage; stages follow one another from −1. The program then starts again. */
  begin(stage: number): void {
    if (stage > -1 && (stage !== this.stage + 1 || this.next !== this.slots.length)) {
      throw new Error(
        `tape: stage ${stage} begins after ${this.next} of ${this.slots.length} passes of stage ${this.stage}`,
      );
    }
    this.stage = stage;
    this.next = 0;
  }

  /** The blocks whose tensors passes return at this stage: one, or none. */
  get blocks(): number[] {
    return this.stage >= 0 && this.stage < this.layers ? [this.stage] : [];
  }

  /** Run this stage of one pass; without logits unless it is the last. */
  async replay(request: ForwardRequest, run: (part: ForwardRequest) => Promise<ForwardResult>): Promise<ForwardResult> {
    const { tokens, start, kernel } = request;
    const name = typeof kernel === 'string' ? kernel : kernelSignature(kernel);
    const signature = `${name} of rows ${start} … ${start + tokens.length - 1}`;
    const at = this.next++;
    if (this.stage === -1) {
      const result = await run({ ...request, stopAtLayer: 0 });
      this.slots[at] = { signature, residual: result.residual };
      return result;
    }
    const slot = this.slots[at];
    if (slot?.signature !== signature) {
      throw new Error(`tape: pass ${at} is ${signature} at stage ${this.stage}, it was ${slot?.signature ?? 'none'}`);
    }
    const part = { ...request, startAtLayer: this.stage, residual: slot.residual };
    const result = await run(this.stage < this.layers ? { ...part, stopAtLayer: this.stage + 1 } : part);
    slot.residual = result.residual;
    return result;
  }
}
