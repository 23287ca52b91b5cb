/** Recompute a sample of the uncached arm's steps the honest way, where a stand-in or one forward gave them. */
import { createHash } from 'node:crypto';
import { noLogits } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor, type StepKernel } from '../model/executor.ts';
import type { KVCache } from '../model/kv-cache.ts';
import { forward } from '../model/plans.ts';
import { RandomStream } from '../numerics/random.ts';
import { bitEqual } from './counterfactual.ts';
import { OrderMatchedCount } from './order-matched.ts';

/** What a stand-in, or one forward, computed for one prompt. */
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
  const { forced, promptLength: first } = run;
  const found: SpotChecked = { equal: new Map(), matched: new OrderMatchedCount() };
  const last = forced.length - 1;
  const middle = first + 1 + (keyOf(run.id) % Math.max(1, last - first));
  for (const n of new Set([Math.min(middle, last), last])) {
    const whole = n === last;
    found.equal.set(n, await equalsHonest(run, n, whole ? first : n, whole ? found.matched : null));
  }
  return found;
}

/** Steps of one forward that are recomputed, beside the last. */
const sampledSteps = 3;

/**
 * The same for steps that are rows of one forward (`Arm.ofForward`): a few of them, drawn by the prompt's id, and the last one,
 * each recomputed in full by itself.
 */
export async function spotCheckForward(run: StandInRun): Promise<Map<number, boolean>> {
  const { forced, promptLength: first, id } = run;
  const last = forced.length - 1;
  const drawn = new RandomStream(0, `spot check ${id}`).permutation(last - first).slice(0, sampledSteps);
  const lengths = new Set([...drawn.map((step) => first + 1 + step), last]);
  const found = new Map<number, boolean>();
  for (const n of lengths) found.set(n, await equalsHonest(run, n, n));
  return found;
}

/**
 * Recompute the step of n tokens over all rows: logits of the steps of from … n tokens, read off that one forward, and K/V rows.
 * @param count counts what differs after the first of these steps
 */
async function equalsHonest(
  run: StandInRun,
  n: number,
  from: number,
  count: OrderMatchedCount | null = null,
): Promise<boolean> {
  const { executor, forced, promptLength: first, logits, kernel = 'prefill' } = run;
  const { vocabSize } = executor.config;
  const cache = executor.newCache(n);
  const tokens = forced.slice(0, n);
  const honest = await forward(executor, { tokens, start: 0, cache, kernel, capture: captureNothing });
  const row = (length: number) => honest.logits?.subarray((length - 1) * vocabSize, length * vocabSize) ?? noLogits;
  const checked = Array.from({ length: n - from + 1 }, (_, step) => from + step);
  let equal = checked.every((length) => bitEqual(row(length), logits[length - first]));
  // Rows that a later step of the stand-in may have rewritten are equal too, or the stand-in is not exact.
  for (const layer of executor.blocks) {
    const own = run.cache.view(layer, n);
    const other = cache.view(layer, n);
    equal &&= bitEqual(own.keys, other.keys) && bitEqual(own.values, other.values);
  }
  if (count) {
    for (const length of checked.slice(1)) count.addStep(logits[length - first], row(length));
    count.addRows(executor.blocks, run.cache, cache, n);
  }
  return equal;
}

/** A number from a prompt's id, so that the choice of a spot check does not depend on its index. */
function keyOf(id: string): number {
  return createHash('sha256').update(id, 'utf8').digest().readUInt32BE(0);
}
