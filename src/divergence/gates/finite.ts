/**
 * Gate 10. No NaN anywhere; infinities only where the policy's type can overflow, and then counted with their hook.
 * Masked scores are −inf by construction and are left out; nothing else is masked or dropped.
 */
import { definitionOf, findHook } from '../../graph/hooks.ts';
import { canOverflow, type RoundingPolicy } from '../../graph/rounding.ts';
import { sees } from '../../model/positions.ts';
import { formats } from '../../numerics/types.ts';
import type { GateResult } from '../summary.ts';
import { gateClaims } from './claims.ts';
import type { Captured } from './difference.ts';
import { always, count, type Gate, type GateContext, lengthScope, type Observation } from './gate.ts';

export const finite: Gate = {
  name: 'finite',
  class: 'identification',
  claim: gateClaims.finite,
  required: (context) => (canOverflow(context.policy) ? '0 NaN; infinities counted' : '0 NaN, 0 infinities'),
  failing: ['a NaN weight', 'logits beyond float32'],
  appliesTo: always,
  stages: 'each',
  begin,
};

interface Counts {
  elements: number;
  nan: Places;
  infinite: Places;
  subnormal: Places;
}

function begin({ policy, prompt, lengths, tokens }: GateContext): Observation {
  const counts: Counts = { elements: 0, nan: new Places(), infinite: new Places(), subnormal: new Places() };
  const { nan, infinite, subnormal } = counts;
  return {
    observe: (context) => observe(context, counts),
    conclude: () => ({
      passed: nan.total === 0 && (infinite.total === 0 || canOverflow(policy)),
      measured:
        `of ${count(counts.elements)} elements: ` +
        [nan.describe('NaN'), infinite.describe('infinite'), subnormal.describe('subnormal')].join(', '),
      scope: `prompt ${prompt.id}, cached arm at prefill and ${lengthScope(lengths)}, uncached arm at n = ${tokens.length}, every hook, masked scores excluded`,
    }),
  };
}

async function observe(context: GateContext, counts: Counts): Promise<void> {
  const { hooks, tokens } = context;
  const { config } = context.executor;
  const steps = await context.cached();
  const runs = [
    ...steps.map((run) => ['cached', run] as const),
    ['uncached', await context.honest(tokens.length)] as const,
  ];
  for (const [arm, run] of runs) {
    for (const hook of hooks) {
      const layer = findHook(hook, config)!.layer;
      const window = config.slidingWindows[layer] ?? null;
      counts.elements += scan(run, hook, window, `${hook} (${arm} arm, n = ${run.n})`, counts);
    }
  }
}

/** How often, and where first. */
class Places {
  total = 0;
  private first = '';

  add(place: string): void {
    if (this.total++ === 0) this.first = place;
  }

  describe(what: string): string {
    return `${count(this.total)} ${what}${this.total > 0 ? ` (first ${this.first})` : ''}`;
  }
}

/** Count one tensor; returns how many elements were looked at. */
function scan(
  run: Captured,
  hook: string,
  window: number | null,
  place: string,
  { nan, infinite, subnormal }: Counts,
): number {
  const { data, dims, dtype } = run.activations.get(hook)!;
  const smallestNormal = 2 ** formats[dtype].minExponent;
  const isScores = definitionOf(hook)?.kind === 'attn.attn_scores';
  const [rows, keys] = dims.slice(-2);
  let looked = data.length;
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    const magnitude = Math.abs(value);
    if (magnitude >= smallestNormal && magnitude < Infinity) continue;
    if (isScores && !sees(window, run.start + (Math.floor(i / keys) % rows), i % keys)) {
      looked--;
      if (value === -Infinity) continue;
    }
    if (Number.isNaN(value)) nan.add(place);
    else if (magnitude === Infinity) infinite.add(place);
    else if (magnitude > 0) subnormal.add(place);
  }
  return looked;
}

/** The finite gate looks at 8 steps; what the whole run met counts too: NaN, and infinities where none may be. */
export function withRunWideFinite(
  gates: GateResult[],
  policy: RoundingPolicy,
  { elements, nan, hook }: { elements: number; nan: number; hook: string | null },
): GateResult[] {
  const found = canOverflow(policy) ? nan : elements;
  if (found === 0) return gates;
  const failed = { passed: false, status: 'failed' as const, scope: 'every step of the run' };
  const measured = `${nan} NaN and ${elements - nan} infinite elements, first at ${hook}`;
  return gates.map((gate) => (gate.name === 'finite' && gate.passed ? { ...gate, ...failed, measured } : gate));
}
