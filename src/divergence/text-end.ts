/** Where a text ends that an arm writes by itself, and the text as people read it. */
import type { Tokenizer } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import type { StopReason } from '../study/unit/unit-summary.ts';

export interface TextEndOptions {
  /** Tokens that end a text; none where they are ignored. */
  endTokens: readonly number[];
  /** Largest number of new tokens, and whether the context is what sets it. */
  limit: number;
  atContext: boolean;
  /** Texts that end a text, as lm-evaluation-harness's `until`. */
  stop?: readonly string[];
  tokenizer: Tokenizer | null;
}

/** Says after each token of a text whether it has ended. */
export class TextEnd {
  private readonly options: TextEndOptions;

  /** @throws InputError for stop sequences without a tokenizer, UsageError for an empty one. */
  constructor(options: TextEndOptions) {
    const { stop = [], tokenizer } = options;
    if (stop.includes('')) throw new UsageError('stop: found an empty text, expected at least one character');
    if (stop.length > 0 && tokenizer === null) {
      throw new InputError(
        `stop: found ${JSON.stringify(stop[0])}, but the model has no tokenizer.json, so its text cannot be searched`,
        'leave the stop sequences out',
      );
    }
    this.options = options;
  }

  /** Why a text of these new tokens ends here, or null where it goes on. The newest token alone is new. */
  after(tokens: readonly number[]): StopReason | null {
    const { endTokens, limit, atContext, stop = [], tokenizer } = this.options;
    if (endTokens.includes(tokens[tokens.length - 1])) return 'end';
    if (stop.length > 0) {
      // The whole text: characters may be spread over tokens, and tokens may stand for nothing.
      const text = tokenizer!.decode(tokens);
      if (stop.some((sequence) => text.includes(sequence))) return 'stop-sequence';
    }
    if (tokens.length < limit) return null;
    return atContext ? 'context' : 'limit';
  }
}

/** The text of new tokens, cut before the first of the stop sequences. */
export function newText(tokenizer: Tokenizer, tokens: readonly number[], stop: readonly string[] = []): string {
  const text = tokenizer.decode(tokens);
  const found = stop.map((sequence) => text.indexOf(sequence)).filter((at) => at >= 0);
  return found.length === 0 ? text : text.slice(0, Math.min(...found));
}
