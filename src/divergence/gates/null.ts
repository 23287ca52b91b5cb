/**
 * Gate 6. Order-matched decoding – the cache in use, two rows per step, the uncached arm's kernels – equals honest
 * recomputation. Where it holds, a difference between the arms is one of summation order and not of the cache.
 */
import { Arm } from '../../model/arms.ts';
import { gateClaims } from './claims.ts';
import { compareRuns, equalityRule, rowTolerance, Tally, tallied } from './difference.ts';
import { type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const nullControl: Gate = {
  name: 'null',
  class: 'identification',
  claim: gateClaims.null,
  required: (context) => equalityRule(context.policy),
  failing: ['a one-row kernel behind a two-row step', 'a cache with a stale row'],
  appliesTo: (context) => (context.lengths.length > 0 ? true : 'no decode step fits into the context'),
  stages: 'each',
  begin,
};

function begin(context: GateContext): Observation {
  const scope = `prompt ${context.prompt.id}, ${lengthScope(context.lengths)}, the newest ${standInRows(context)} rows, every hook, the uncached arm's kernels`;
  return tallied(new Tally(rowTolerance(context.policy)), scope, observe);
}

/** The rows a run's stand-in for the uncached arm recomputes per step. */
function standInRows({ decodeRows }: GateContext): number {
  return Math.max(2, decodeRows);
}

async function observe(context: GateContext, tally: Tally): Promise<void> {
  const { executor, hooks, tokens, prompt, lengths } = context;
  const rows = standInRows(context);
  const arm = Arm.uncached(executor, tokens.length, 'stand-in', rows);
  await arm.prefill(prompt.tokens, { hooks: new Set() });
  for (const n of lengths) {
    const decoded = await arm.step(tokens.slice(0, n), { hooks });
    compareRuns(tally, hooks, decoded, await context.honest(n), { from: decoded.start, to: n });
  }
}
