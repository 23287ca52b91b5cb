/** Gate 9. Looking does not change what is seen: logits are the same with no, the core and all hooks captured. */

import { definitionOf } from '../../graph/hooks.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import { gateClaims } from './claims.ts';
import { Tally, tallied } from './difference.ts';
import { always, type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const observer: Gate = {
  name: 'observer',
  class: 'harness',
  claim: gateClaims.observer,
  required: '0 logits and residuals differ',
  failing: ['hooks that change what is computed'],
  appliesTo: always,
  stages: 'first',
  begin,
};

function begin({ prompt, lengths }: GateContext): Observation {
  const scope = `prompt ${prompt.id}, prefill and ${lengthScope(lengths)}, both arms, hooks core and all against none`;
  return tallied(new Tally(), scope, observe);
}

async function observe(context: GateContext, tally: Tally): Promise<void> {
  const { hooks } = context;
  const core = new Set([...hooks].filter((name) => definitionOf(name)?.core));
  const [none, withCore] = await context.together([
    () => resultsOfArms(context, new Set()),
    () => resultsOfArms(context, core),
  ]);
  const withAll = await resultsOfArms(context, hooks);
  for (const [label, watched] of [['core', withCore] as const, ['all', withAll] as const]) {
    for (const [place, { logits, residual }] of watched) {
      const plain = none.get(place)!;
      const where = `${label} hooks, ${place}`;
      if (logits.length > 0) tally.add('logits', where, logits, plain.logits, logits.length);
      tally.add('residual stream', where, residual, plain.residual, residual.length);
    }
  }
}

async function resultsOfArms(
  { open, tokens, prompt, lengths, decodeRows }: GateContext,
  hooks: ReadonlySet<string>,
): Promise<Map<string, ArmStep>> {
  const executor = open();
  const found = new Map<string, ArmStep>();
  const longest = await Arm.uncached(executor, tokens.length, 'recompute').prefill(tokens, { hooks });
  found.set(`uncached arm, n = ${tokens.length}`, longest);
  const arm = Arm.cached(executor, tokens.length, decodeRows);
  const first = await arm.prefill(prompt.tokens, { hooks });
  found.set(`prefill, n = ${first.n}`, first);
  for (const n of lengths) {
    const step = await arm.step(tokens.slice(0, n), { hooks });
    found.set(`cached arm, n = ${n}`, step);
  }
  await executor.release();
  return found;
}
