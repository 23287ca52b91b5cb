/** Order-matched decoding measured over whole prompts, every step recomputed in full. */
import { type OrderMatched, OrderMatchedCount } from '../divergence/order-matched.ts';
import { Arm } from '../model/arms.ts';
import { captureNothing, type Executor } from '../model/executor.ts';

/** Both arms on the same tokens; each token after the prompt is a step. */
export async function orderMatched(
  executor: Executor,
  tokens: readonly number[],
  promptLength: number,
): Promise<OrderMatched> {
  const matched = Arm.uncached(executor, tokens.length, 'stand-in');
  const honest = Arm.uncached(executor, tokens.length, 'recompute');
  await matched.prefill(tokens.slice(0, promptLength), captureNothing);
  const count = new OrderMatchedCount();
  for (let n = promptLength + 1; n <= tokens.length; n++) {
    const sequence = tokens.slice(0, n);
    const ours = await matched.step(sequence, captureNothing);
    const theirs = await honest.step(sequence, captureNothing);
    count.addStep(ours.logits, theirs.logits);
  }
  count.addRows(executor.blocks, matched.cache, honest.cache, tokens.length);
  return count.found();
}

/** Several prompts together. */
export function addOrderMatched(parts: readonly OrderMatched[]): OrderMatched {
  const sum = (name: keyof OrderMatched) => parts.reduce((total, part) => total + part[name], 0);
  return { steps: sum('steps'), differingElements: sum('differingElements'), distance: sum('distance') };
}
