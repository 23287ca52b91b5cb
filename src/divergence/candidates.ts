/** The tokens an arm was about to choose from: the largest raw logits of a step, and how probable they are. */
import type { FloatArray } from '../model/arrays.ts';
import { softmax } from '../model/sampling/index.ts';
import type { CandidateRecord } from './rows.ts';

/** So many are kept. */
export const mostCandidates = 5;

export interface Candidates {
  /** Token ids by falling logit, of equal ones the lower id first; fewer than `mostCandidates` in a smaller vocabulary. */
  tokens: number[];
  /** Of those tokens: softmax over all raw logits at temperature 1. */
  probabilities: number[];
}

/** The largest logits [d_vocab] in the order of `argmax`, whose choice comes first: NaN is behind every number. */
export function candidatesOf(logits: FloatArray): Candidates {
  const tokens: number[] = [];
  for (let token = 0; token < logits.length; token++) {
    if (tokens.length === mostCandidates && !precedes(logits[token], logits[tokens[mostCandidates - 1]])) continue;
    let place = tokens.length;
    while (place > 0 && precedes(logits[token], logits[tokens[place - 1]])) place -= 1;
    tokens.splice(place, 0, token);
    tokens.length = Math.min(tokens.length, mostCandidates);
  }
  const probabilities = softmax(logits);
  return { tokens, probabilities: tokens.map((token) => probabilities[token]) };
}

/** Ids rise, so that an equal logit comes behind. */
function precedes(logit: number, other: number): boolean {
  return logit > other || (Number.isNaN(other) && !Number.isNaN(logit));
}

/** Collects the rows of a prompt: of every step, or of the flip alone. */
export class CandidateRows {
  private readonly wanted: (step: number) => boolean;
  private readonly rows: CandidateRecord[] = [];

  /** @param flip step at which the arms' choices first differ; negative for none */
  constructor(steps: 'all' | 'flip' | 'none', flip: number) {
    this.wanted = steps === 'all' ? () => true : (step) => steps === 'flip' && step === flip;
  }

  /** Logits [d_vocab] of an arm that reads its own text, and what it chose. */
  add(step: number, arm: CandidateRecord['arm'], logits: FloatArray, token: number): void {
    if (this.wanted(step)) this.rows.push({ step, arm, token, ...candidatesOf(logits) });
  }

  /** By step, cached before uncached. */
  get found(): CandidateRecord[] {
    return this.rows.toSorted((a, b) => a.step - b.step || (a.arm < b.arm ? -1 : 1));
  }
}
