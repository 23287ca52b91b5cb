/**
 * Gate 8. Row i of the uncached arm does not depend on the length it was computed in. Otherwise "cache-free" is not one
 * trajectory, and there is nothing for the cached arm to diverge from.
 */
import { compareRuns, equalityRule, rowTolerance, Tally } from './difference.ts';
import type { Gate, GateContext, Measurement } from './gate.ts';

export const prefix: Gate = {
  name: 'prefix',
  class: 'identification',
  claim: 'row i of the uncached arm is the same in every length n ≥ 2 it is computed in',
  required: (context) => equalityRule(context.policy),
  failing: ['rotary rows that depend on the length', 'a mask that shows the next key'],
  appliesTo: (context) => (context.tokens.length > 2 ? true : 'fewer than 3 tokens: there is one length only'),
  measure,
};

async function measure(context: GateContext): Promise<Measurement> {
  const { hooks, tokens, prompt, policy } = context;
  const lengths = chosenLengths(prompt.tokens.length, context.lengths, tokens.length);
  const tally = new Tally(rowTolerance(policy));
  const longest = await context.honest(tokens.length);
  for (const n of lengths) {
    const run = await context.honest(n);
    compareRuns(tally, hooks, run, longest, { from: 0, to: n }, `row of n = ${n} in n = ${tokens.length}`);
  }
  return {
    passed: tally.equal,
    measured: tally.describe(),
    scope: `prompt ${prompt.id}, n = ${lengths.join(', ')} in ${tokens.length}, all rows, every hook`,
  };
}

/** The run's own lengths, and a few short ones. */
function chosenLengths(promptLength: number, steps: readonly number[], longest: number): number[] {
  const candidates = [2, 3, Math.ceil(promptLength / 2), promptLength, ...steps];
  return [...new Set(candidates)].filter((n) => n >= 2 && n < longest).sort((a, b) => a - b);
}
