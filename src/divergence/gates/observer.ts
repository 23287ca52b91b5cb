/** Gate 9. Looking does not change what is seen: logits are the same with no, the core and all hooks captured. */

import { definitionOf } from '../../graph/hooks.ts';
import { Arm, type ArmStep } from '../../model/arms.ts';
import { Tally } from './difference.ts';
import { always, type Gate, type GateContext, lengthScope, type Measurement } from './gate.ts';

export const observer: Gate = {
  name: 'observer',
  class: 'harness',
  claim: 'capturing hooks does not change logits: none, core and all give the same bits',
  required: '0 logits differ',
  failing: ['hooks that change what is computed'],
  appliesTo: always,
  measure,
};

async function measure(context: GateContext): Promise<Measurement> {
  const { hooks, prompt, lengths } = context;
  const core = new Set([...hooks].filter((name) => definitionOf(name)?.core));
  const none = await logitsOfArms(context, new Set());
  const tally = new Tally();
  for (const [label, set] of [['core', core] as const, ['all', hooks] as const]) {
    const watched = await logitsOfArms(context, set);
    for (const [place, logits] of watched)
      tally.add('logits', `${label} hooks, ${place}`, logits, none.get(place)!, logits.length);
  }
  return {
    passed: tally.equal,
    measured: tally.describe(),
    scope: `prompt ${prompt.id}, prefill and ${lengthScope(lengths)}, both arms, hooks core and all against none`,
  };
}

async function logitsOfArms(
  { executor, tokens, prompt, lengths, decodeRows }: GateContext,
  hooks: ReadonlySet<string>,
): Promise<Map<string, ArmStep['logits']>> {
  const found = new Map<string, ArmStep['logits']>();
  const longest = await Arm.uncached(executor, tokens.length, 'recompute').prefill(tokens, { hooks });
  found.set(`uncached arm, n = ${tokens.length}`, longest.logits);
  const arm = Arm.cached(executor, tokens.length, decodeRows);
  const first = await arm.prefill(prompt.tokens, { hooks });
  found.set(`prefill, n = ${first.n}`, first.logits);
  for (const n of lengths) {
    const step = await arm.step(tokens.slice(0, n), { hooks });
    found.set(`cached arm, n = ${n}`, step.logits);
  }
  return found;
}
