/** Texts that arms write by themselves, beyond the tokens they were compared on. */
import type { Arm } from '../model/arms.ts';
import type { FloatArray } from '../model/arrays.ts';
import { captureNothing } from '../model/executor.ts';
import type { StopReason } from '../study/unit/unit-summary.ts';
import type { Choices } from './choices.ts';
import type { OrderMatchedCount } from './order-matched.ts';
import type { TextEnd } from './text-end.ts';

/** New tokens of an arm, and why there are no more. */
export interface Text {
  tokens: number[];
  stop: StopReason;
}

/** Chooses a step's token from its logits [d_vocab]; `position` is that of its newest input token. */
export type ChooseToken = (logits: FloatArray, step: number, position: number) => number;

/** Go on from `sequence` – a prompt of `promptLength` tokens and new ones, the last not yet run – until its text ends. */
export async function goOn(
  arm: Arm,
  sequence: readonly number[],
  promptLength: number,
  { end, choose }: { end: TextEnd; choose: ChooseToken },
): Promise<Text> {
  const own = [...sequence];
  for (;;) {
    const tokens = own.slice(promptLength);
    const stop = end.after(tokens);
    if (stop !== null) return { tokens, stop };
    const { logits } = await arm.step(own, captureNothing);
    own.push(choose(logits, tokens.length, own.length - 1));
  }
}

/** The uncached arm after it has run. */
export interface UncachedRun {
  arm: Arm;
  /** Layers whose rows it wrote. */
  layers: readonly number[];
  /** Prompt and new tokens; the last one was not run. */
  forced: readonly number[];
  promptLength: number;
  /** By step: [d_vocab], or empty at a stage of a tape that has none. */
  logits: readonly FloatArray[];
}

/**
 * Order-matched decoding on the uncached arm's tokens, counted against it. With `free` it goes on with its own tokens from the
 * first step that would choose another one.
 * @returns its text from there on, or null where it is the uncached one
 */
export async function runOrderMatched(
  matched: Arm,
  { arm, layers, forced, promptLength, logits }: UncachedRun,
  count: OrderMatchedCount,
  free: { end: TextEnd; choices: Choices } | null,
): Promise<Text | null> {
  let text: Text | null = null;
  await matched.prefill(forced.slice(0, promptLength), captureNothing);
  for (let n = promptLength + 1; n < forced.length; n++) {
    const sequence = forced.slice(0, n);
    const found = await matched.step(sequence, captureNothing);
    count.addStep(found.logits, logits[n - promptLength]);
    if (free === null || text !== null) continue;
    const choose: ChooseToken = (own, step) => free.choices.of('uncached', own, step).token;
    const token = choose(found.logits, n - promptLength, n - 1);
    if (token === forced[n]) continue;
    const own = matched.fork(matched.cache.capacity, n);
    text = await goOn(own, [...sequence, token], promptLength, { end: free.end, choose });
  }
  count.addRows(layers, matched.cache, arm.cache, forced.length - 1);
  return text;
}
