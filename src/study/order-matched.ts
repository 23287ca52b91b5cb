/**
 * Order-matched decoding measured over whole prompts: the cache in use, two rows per step, the prefill's kernel – against
 * honest recomputation of every step. The null gate says the same of a few steps at every hook; claims need many steps.
 */
import { bitEqual } from '../divergence/counterfactual.ts';
import { centredDistance } from '../divergence/metrics/logits.ts';
import { Arm } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing, type Executor } from '../model/executor.ts';

/** What was found over the steps of one or several prompts. */
export interface OrderMatched {
  steps: number;
  /** Logits of every step and, at the end, K/V rows of every layer that differ from recomputation. */
  differingElements: number;
  /** Σ over steps of the L2 of mean-centred logits. */
  distance: number;
}

/** Both arms on the same tokens; each token after the prompt is a step. */
export async function orderMatched(
  executor: Executor,
  tokens: readonly number[],
  promptLength: number,
): Promise<OrderMatched> {
  const matched = Arm.uncached(executor, tokens.length, 'stand-in');
  const honest = Arm.uncached(executor, tokens.length, 'recompute');
  await matched.prefill(tokens.slice(0, promptLength), captureNothing);
  const found: OrderMatched = { steps: 0, differingElements: 0, distance: 0 };
  for (let n = promptLength + 1; n <= tokens.length; n++) {
    const sequence = tokens.slice(0, n);
    const [ours, theirs] = [
      (await matched.step(sequence, captureNothing)).logits,
      (await honest.step(sequence, captureNothing)).logits,
    ];
    found.steps += 1;
    const differing = differ(ours, theirs);
    found.differingElements += differing;
    if (differing > 0) found.distance += centredDistance(ours, theirs);
  }
  for (const layer of executor.blocks) {
    const [ours, theirs] = [matched, honest].map((arm) => arm.cache.view(layer, tokens.length));
    found.differingElements += differ(ours.keys, theirs.keys) + differ(ours.values, theirs.values);
  }
  return found;
}

/** Several prompts together. */
export function addOrderMatched(parts: readonly OrderMatched[]): OrderMatched {
  const sum = (name: keyof OrderMatched) => parts.reduce((total, part) => total + part[name], 0);
  return { steps: sum('steps'), differingElements: sum('differingElements'), distance: sum('distance') };
}

/** Elements whose bits differ, ±0 pairs excepted. */
function differ(a: FloatArray, b: FloatArray): number {
  if (bitEqual(a, b)) return 0;
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count += 1;
  return count;
}
