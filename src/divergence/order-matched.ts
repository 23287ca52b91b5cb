/**
 * Order-matched decoding, counted: the cache in use, two rows per step, the prefill's kernel – against honest recomputation of
 * the same tokens. The null gate says the same of a few steps at every hook; claims need many steps.
 */
import type { FloatArray } from '../model/arrays.ts';
import type { KVCache } from '../model/kv-cache.ts';
import { bitEqual } from './counterfactual.ts';
import { centredDistance } from './metrics/logits.ts';

/** What was found over the steps of one or several prompts. */
export interface OrderMatched {
  /** Steps after the prompt. */
  steps: number;
  /** Logits of every step and, at the end, K/V rows of every layer that differ from recomputation. */
  differingElements: number;
  /** Σ over steps of the L2 of mean-centred logits. */
  distance: number;
}

/** Counts one prompt. */
export class OrderMatchedCount implements OrderMatched {
  steps = 0;
  differingElements = 0;
  distance = 0;

  /** The logits of one step; at a stage of a tape that has none, nothing. */
  addStep(matched: FloatArray, honest: FloatArray): void {
    if (honest.length === 0) return;
    this.steps += 1;
    const differing = countDiffering(matched, honest);
    this.differingElements += differing;
    if (differing > 0) this.distance += centredDistance(matched, honest);
  }

  /** K/V rows [0, length) of these layers, at the end. */
  addRows(layers: readonly number[], matched: KVCache, honest: KVCache, length: number): void {
    for (const layer of layers) {
      const [ours, theirs] = [matched, honest].map((cache) => cache.view(layer, length));
      this.differingElements += countDiffering(ours.keys, theirs.keys) + countDiffering(ours.values, theirs.values);
    }
  }

  add({ steps, differingElements, distance }: OrderMatched): void {
    this.steps += steps;
    this.differingElements += differingElements;
    this.distance += distance;
  }

  /** The figures, plain. */
  found(): OrderMatched {
    const { steps, differingElements, distance } = this;
    return { steps, differingElements, distance };
  }
}

/** Elements whose bits differ, ±0 pairs excepted. */
function countDiffering(a: FloatArray, b: FloatArray): number {
  if (bitEqual(a, b)) return 0;
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i]))) count += 1;
  return count;
}
