/**
 * Gate 6. Order-matched decoding – the cache in use, two rows per step, the uncached arm's kernels – equals honest
 * recomputation. Where it holds, a difference between the arms is one of summation order and not of the cache.
 */
import { Arm } from '../../model/arms.ts';
import { compareRuns, equalityRule, rowTolerance, Tally } from './difference.ts';
import { type Gate, type GateContext, lengthScope, type Measurement } from './gate.ts';

export const nullControl: Gate = {
  name: 'null',
  class: 'identification',
  claim: 'decoding two rows per step with the cache in use equals honest recomputation at every hook',
  required: (context) => equalityRule(context.policy),
  failing: ['a one-row kernel behind a two-row step', 'a cache with a stale row'],
  appliesTo: (context) => (context.lengths.length > 0 ? true : 'no decode step fits into the context'),
  measure,
};

async function measure(context: GateContext): Promise<Measurement> {
  const { executor, hooks, tokens, prompt, lengths, policy } = context;
  const tally = new Tally(rowTolerance(policy));
  // The rows a run's stand-in for the uncached arm recomputes per step.
  const rows = Math.max(2, context.decodeRows);
  const arm = Arm.uncached(executor, tokens.length, 'stand-in', rows);
  await arm.prefill(prompt.tokens, { hooks: new Set() });
  for (const n of lengths) {
    const decoded = await arm.step(tokens.slice(0, n), { hooks });
    compareRuns(tally, hooks, decoded, await context.honest(n), { from: decoded.start, to: n });
  }
  return {
    passed: tally.equal,
    measured: tally.describe(),
    scope: `prompt ${prompt.id}, ${lengthScope(lengths)}, the newest ${rows} rows, every hook, the uncached arm's kernels`,
  };
}
