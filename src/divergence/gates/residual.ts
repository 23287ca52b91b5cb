/**
 * Gate 11. resid_pre + attn_out = resid_mid and resid_mid + mlp_out = resid_post after the policy's rounding, added here
 * and rounded by `numerics/`, independently of the graph.
 */
import { hookName } from '../../graph/hooks.ts';
import { computeType, typeAt } from '../../graph/rounding.ts';
import { roundTo } from '../../numerics/half.ts';
import { gateClaims } from './claims.ts';
import { always, count, type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const residual: Gate = {
  name: 'residual',
  class: 'harness',
  claim: gateClaims.residual,
  required: '0 elements differ',
  failing: ['residual sums that are not rounded'],
  appliesTo: always,
  stages: 'each',
  begin,
};

const sums = [
  ['resid_pre', 'attn_out', 'resid_mid'],
  ['resid_mid', 'mlp_out', 'resid_post'],
] as const;

interface Found {
  elements: number;
  differ: number;
  first: string;
}

function begin({ prompt, lengths, tokens }: GateContext): Observation {
  const found: Found = { elements: 0, differ: 0, first: '' };
  return {
    observe: (context) => observe(context, found),
    conclude: () => ({
      passed: found.differ === 0,
      measured: `${count(found.differ)} of ${count(found.elements)} elements differ${found.first}`,
      scope: `prompt ${prompt.id}, cached arm at prefill and ${lengthScope(lengths)}, uncached arm at n = ${tokens.length}, every layer, all elements`,
    }),
  };
}

async function observe(context: GateContext, found: Found): Promise<void> {
  const { executor, policy, tokens } = context;
  const compute = computeType(policy);
  const type = typeAt(policy, 'residual');
  // Casts from float64 to 16 bits go through float32.
  const store = (sum: number) => roundTo(type, type === 'f64' ? sum : Math.fround(roundTo(compute, sum)));
  const steps = await context.cached();
  const runs = [
    ...steps.map((run) => ['cached', run] as const),
    ['uncached', await context.honest(tokens.length)] as const,
  ];
  for (const [arm, { n, activations }] of runs) {
    for (const layer of executor.blocks) {
      for (const [left, right, sum] of sums) {
        const [x, y, z] = [left, right, sum].map((kind) => activations.get(hookName(kind, layer))!.data);
        found.elements += z.length;
        for (let i = 0; i < z.length; i++) {
          const expected = store(x[i] + y[i]);
          if (z[i] === expected || (Number.isNaN(z[i]) && Number.isNaN(expected))) continue;
          if (found.differ++ === 0)
            found.first = `; first ${hookName(sum, layer)}, ${arm} arm, n = ${n}: ${z[i]}, not ${expected}`;
        }
      }
    }
  }
}
