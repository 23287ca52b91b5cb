/**
 * Gate 8. Row i of the uncached arm does not depend on the length it was computed in. Otherwise "cache-free" is not one
 * trajectory, and there is nothing for the cached arm to diverge from.
 */

import { gateClaims } from './claims.ts';
import { compareRuns, equalityRule, rowTolerance, Tally, tallied } from './difference.ts';
import type { Gate, GateContext, Observation } from './gate.ts';

export const prefix: Gate = {
  name: 'prefix',
  class: 'identification',
  claim: gateClaims.prefix,
  required: (context) => equalityRule(context.policy),
  failing: ['rotary rows that depend on the length', 'a mask that shows the next key'],
  appliesTo: (context) => (context.tokens.length > 2 ? true : 'fewer than 3 tokens: there is one length only'),
  stages: 'each',
  begin,
};

function begin(context: GateContext): Observation {
  const scope = `prompt ${context.prompt.id}, n = ${chosenLengths(context).join(', ')} in ${context.tokens.length}, all rows, every hook`;
  return tallied(new Tally(rowTolerance(context.policy)), scope, observe);
}

async function observe(context: GateContext, tally: Tally): Promise<void> {
  const { hooks, tokens } = context;
  const lengths = chosenLengths(context);
  const longest = await context.honest(tokens.length);
  for (const n of lengths) {
    const run = await context.honest(n);
    compareRuns(tally, hooks, run, longest, { from: 0, to: n }, `row of n = ${n} in n = ${tokens.length}`);
  }
}

/** The run's own lengths, and a few short ones. */
function chosenLengths({ prompt, lengths, tokens }: GateContext): number[] {
  const candidates = [2, 3, Math.ceil(prompt.tokens.length / 2), prompt.tokens.length, ...lengths];
  return [...new Set(candidates)].filter((n) => n >= 2 && n < tokens.length).sort((a, b) => a - b);
}
