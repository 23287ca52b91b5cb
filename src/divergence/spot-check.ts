/** Recompute a sample of a stand-in's steps the honest way. */
import { createHash } from 'node:crypto';
import { noLogits } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor, type StepKernel } from '../model/executor.ts';
import type { KVCache } from '../model/kv-cache.ts';
import { forward } from '../model/plans.ts';
import { bitEqual } from './counterfactual.ts';
import { OrderMatchedCount } from './order-matched.ts';

/** What a stand-in computed for one prompt. */
export interface StandInRun {
  executor: Executor;
  /** Its K/V rows. */
  cache: KVCache;
  /** Prompt and new tokens; the last one was not run. */
  forced: readonly number[];
  promptLength: number;
  /** Logits of every step: [d_vocab] each, or empty at a stage of a tape that has none. */
  logits: readonly FloatArray[];
  /** Id of the prompt: chooses the step in the middle, so that its index does not. */
  id: string;
  /** Kernel of every pass; default the preset's prefill kernel. */
  kernel?: StepKernel;
}

/** What a spot check found. */
export interface SpotChecked {
  /** By length, whether the stand-in was right (on a tape: at its stage). */
  equal: Map<number, boolean>;
  /** The full forward at the end against the stand-in: steps after the prompt, and their K/V rows. */
  matched: OrderMatchedCount;
}

/**
 * One full forward at the end checks the K/V rows and the logits of every step (row i of a forward equals the last row of
 * a forward over i + 1 rows: the prefix gate), and one step in the middle is recomputed in full by itself.
 */
export async function spotCheck(run: StandInRun): Promise<SpotChecked> {
  const { executor, forced, promptLength: first, logits, kernel = 'prefill' } = run;
  const { vocabSize } = executor.config;
  const found: SpotChecked = { equal: new Map(), matched: new OrderMatchedCount() };
  const last = forced.length - 1;
  const middle = first + 1 + (keyOf(run.id) % Math.max(1, last - first));
  for (const n of new Set([Math.min(middle, last), last])) {
    const cache = executor.newCache(n);
    const tokens = forced.slice(0, n);
    const honest = await forward(executor, { tokens, start: 0, cache, kernel, capture: captureNothing });
    const row = (length: number) => honest.logits?.subarray((length - 1) * vocabSize, length * vocabSize) ?? noLogits;
    const checked = n === last ? Array.from({ length: n - first + 1 }, (_, step) => first + step) : [n];
    let equal = checked.every((length) => bitEqual(row(length), logits[length - first]));
    // Rows that a later step of the stand-in may have rewritten are equal too, or the stand-in is not exact.
    for (const layer of executor.blocks) {
      const own = run.cache.view(layer, n);
      const other = cache.view(layer, n);
      equal &&= bitEqual(own.keys, other.keys) && bitEqual(own.values, other.values);
    }
    found.equal.set(n, equal);
    if (n !== last) continue;
    for (const length of checked.slice(1)) found.matched.addStep(logits[length - first], row(length));
    found.matched.addRows(executor.blocks, run.cache, cache, n);
  }
  return found;
}

/** A number from a prompt's id, so that the choice of a spot check does not depend on its index. */
function keyOf(id: string): number {
  return createHash('sha256').update(id, 'utf8').digest().readUInt32BE(0);
}
