/**
 * The rules of a verdict, in their order: the first that applies decides. Rules about state come before those about numbers,
 * because order-matched decoding and a step run again from its own inputs leave no rounding noise that could imitate a fault.
 */
import type { GateResult } from '../../divergence/summary.ts';
import { findHook, type HookedModel } from '../../graph/hooks.ts';
import type { ExplainedArm, ExplainedStep, ExplainVerdict, StateFault } from './types.ts';

/** What the rules look at. */
export interface Facts {
  gates: readonly GateResult[];
  /** Null where the run has no step that differs. */
  step: Omit<ExplainedStep, 'reproduction'> | null;
  model: HookedModel;
  /** The preset's decode kernel is another graph than the uncached arm's. */
  otherDecodeKernel: boolean;
}

interface Rule {
  id: string;
  cause: ExplainVerdict['cause'];
  /** The sentence if the rule applies, else null. */
  apply(facts: Facts): string | null;
}

/** A rule that needs a step. */
function ofStep(apply: (step: NonNullable<Facts['step']>, facts: Facts) => string | null): Rule['apply'] {
  return (facts) => (facts.step === null ? null : apply(facts.step, facts));
}

const isOpen = (gates: readonly GateResult[], name: string) =>
  gates.find((gate) => gate.name === name)?.status !== 'passed';

/** In order. */
export const rules: readonly Rule[] = [
  {
    id: 'harness-gate',
    cause: 'harness',
    apply: ({ gates }) => {
      const failed = gates.filter((gate) => gate.class === 'harness' && !gate.passed).map(({ name }) => name);
      return failed.length === 0 ? null : `a harness gate failed (${failed.join(', ')}): no number of this run counts`;
    },
  },
  {
    id: 'nothing-differs',
    cause: 'equal',
    apply: ({ step }) => (step === null ? 'no step differs in any bit: there is nothing to explain' : null),
  },
  {
    id: 'rows-narrowed',
    cause: 'storage',
    apply: ofStep(({ state }) =>
      state?.kind === 'narrower store' ? `${state.detail}: the cache stores them in ${state.type}` : null,
    ),
  },
  {
    id: 'step-replayed',
    cause: 'state-bug',
    apply: ofStep(({ state }) =>
      state === null
        ? null
        : `${stateWords(state)}. Not rounding: the same kernels from the same inputs give other bits`,
    ),
  },
  {
    id: 'no-null-control',
    cause: 'not-explained',
    apply: ({ gates }) => {
      const open = ['null', 'prefix'].filter((name) => isOpen(gates, name));
      if (open.length === 0) return null;
      return `gate ${open.join(' and ')} did not pass: order-matched decoding cannot tell rounding from state here`;
    },
  },
  {
    id: 'order-matched-differs',
    cause: 'state-bug',
    apply: ofStep(({ orderMatched: { exact, first } }) => {
      if (exact) return null;
      const where = first === null ? 'in rows of the cache' : `first in ${first.operation}`;
      return `order-matched decoding still differs from recomputation, ${where}: no sum has another order there`;
    }),
  },
  {
    id: 'exact-tie',
    cause: 'benign-tie',
    apply: ofStep(({ flip, uncached, cached }) => {
      const pair = [uncached.token, cached.token];
      const arms = Object.entries({ uncached, cached }).flatMap(([name, arm]) => (hasTie(arm, pair) ? [name] : []));
      if (!flip || arms.length === 0) return null;
      return `the two largest logits of the ${arms.join(' and the ')} arm are equal, so that any rounding decides; with two rows per step under the prefill's kernel nothing differs`;
    }),
  },
  {
    id: 'order-matched-equal',
    cause: 'kernel-shape',
    apply: ofStep((step, { model, otherDecodeKernel }) => {
      const { flip, firstOrigin, stepOrigin, predicted } = step;
      const origin = firstOrigin ?? stepOrigin;
      if (origin === null) return null;
      const what = operationClass(origin.hook, model);
      const how = otherDecodeKernel
        ? 'the decode kernel is another graph'
        : `a step of one row ${isSum(what) ? 'sums in another order' : 'computes it otherwise'} than the prefill`;
      const beyond =
        flip && decidedByMargin(step) && predicted?.inside === false
          ? '. Suspect: the margin is larger than the drift of the other steps'
          : '';
      return `${what}: ${how}; with two rows under the prefill's kernel the same state gives recomputation's bits${beyond}`;
    }),
  },
  {
    id: 'no-rule',
    cause: 'not-explained',
    apply: () => 'the arms differ, and no operation was found in which the difference starts',
  },
];

/** Both tokens have the largest logit of an arm. */
function hasTie({ top }: ExplainedArm, pair: readonly number[]): boolean {
  return pair.every((token) => top.some((each) => each.token === token && each.logit === top[0].logit));
}

/** Both arms choose their largest logit: greedy decoding does, a sampled token may be any other. */
export function decidedByMargin({ uncached, cached }: Pick<ExplainedStep, 'uncached' | 'cached'>): boolean {
  return [uncached, cached].every(({ token, top }) => top[0]?.token === token);
}

/** The verdict of the first rule that applies. */
export function judge(facts: Facts): ExplainVerdict {
  for (const { id, cause, apply } of rules) {
    const sentence = apply(facts);
    if (sentence !== null) return { cause, rule: id, sentence };
  }
  throw new Error('the last rule applies always');
}

/** Kind, layer, heads and row of a state fault, in one sentence. */
export function stateWords({ kind, component, layer, heads, row, step, detail, otherRows }: StateFault): string {
  const head = heads.length === 0 ? '' : `, ${heads.length === 1 ? 'head' : 'heads'} ${listed(heads)}`;
  const which =
    component === null ? `position ${row}` : `${component.toUpperCase()} row ${row} of block ${layer}${head}`;
  const others = otherRows === 0 ? '' : ` (and ${otherRows} other rows)`;
  return `${kind}, ${which}, read at step ${step}: ${detail}${others}`;
}

/** Numbers as a list; the first few of many. */
export function listed(numbers: readonly number[]): string {
  const shown = numbers.slice(0, 4).join(', ');
  return numbers.length <= 4 ? shown : `${shown} … (${numbers.length} in all)`;
}

const weightProducts: ReadonlySet<string> = new Set([
  ...['attn.q', 'attn.k', 'attn.v', 'attn_out', 'ln1_post.scale', 'mlp.pre', 'mlp.pre_linear', 'mlp_out'],
  ...['ln2_post.scale', 'unembed.out'],
]);

/** True for operations that add up: these depend on the order. */
function isSum(what: string): boolean {
  return /product|softmax|mean/.test(what);
}

/** What class of operation computes a hook. */
export function operationClass(hook: string, model: HookedModel): string {
  const kind = findHook(hook, model)?.definition.kind ?? '';
  if (kind === 'attn.attn_scores' || kind === 'attn.z')
    return 'an attention product, whose operands are both made in the step';
  if (weightProducts.has(kind)) return 'a product with weights';
  if (kind === 'attn.pattern') return 'a softmax';
  return kind.endsWith('.scale') ? 'the mean of a norm' : 'an elementwise operation';
}
