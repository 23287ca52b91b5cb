/**
 * C3: single precision reduces the divergence by eight orders of magnitude and the flip rate to exactly 0, so that the
 * rounding of half precision is its sole cause. Four parts that can each fail, and the conjunction.
 */
import {
  armGates,
  conjunction,
  type Estimate,
  type Evidence,
  type Finding,
  shown,
  unlessDoubted,
  type Verdict,
} from './claim.ts';

/** Prompts in which the arms pick another token at least once, teacher-forced. */
export interface FlippedPrompts {
  prompts: number;
  flipped: number;
  /** Of those, prompts in which every flip has an exact tie in one arm. */
  onlyTies: number;
  /** Share of prompts with a flip; without one, the upper bound is 1 − 0.05^(1/prompts). */
  share: Estimate;
}

export interface C3Evidence extends Evidence {
  half: FlippedPrompts;
  /** The control; null without one, or where a gate that comparing its arms rests on failed. */
  single: FlippedPrompts | null;
  /** The decode kernel and the rounded weights kept, every activation in single precision; null where it was not run, or as the control. */
  wideActivations: FlippedPrompts | null;
  /** By metric: log10 of Σ distance in half precision over Σ distance in single precision. */
  decades: Readonly<Record<string, Estimate>>;
  /**
   * Half precision with the summation order of the prefill, the cache in use. Where the cached arm is `padded` on the left its
   * keys lie in other places of the sums, with two rows per step as with one: the order is not matched.
   */
  orderMatched: { steps: number; differingElements: number; padded: boolean };
  /** True where every reordered sum is accumulated in single precision, as all kernels but split-k with storage combination. */
  singleAccumulation: boolean;
}

export const c3Rules = {
  a: 'flips: open if half precision has none; contradicted by a flip in single precision that is no exact tie; supported if single precision has none and its upper bound is at most 0.1 × the lower bound of half precision',
  b: 'orders of magnitude: supported if the interval of log10(ΣD half / ΣD single) lies in [7.5, 8.5] for one metric; contradicted if it is disjoint from it for all',
  c: 'order is necessary: supported if order-matched half precision differs in 0 elements over at least 1,000 steps; contradicted by any differing element, which says nothing where left padding puts the keys in other places of the sums',
  d: 'narrow storage is necessary: with activations in single precision and the decode kernel kept, supported if the upper bound of the flips is at most 0.1 × the lower bound of half precision; contradicted if their lower bound is at least 0.5 × its upper bound',
  'sole cause': 'supported if a, c and d are; contradicted if one of them is',
};

/** Steps of order-matched decoding without a difference that count as evidence. */
const enoughSteps = 1_000;

/** The verdicts on C3's parts. */
export function judgeC3(evidence: C3Evidence): Verdict[] {
  const { half, single, wideActivations: wide, decades, orderMatched, scope } = evidence;
  const found = {
    a: unlessDoubted(evidence, armGates, () => flips(half, single)),
    b: unlessDoubted(evidence, armGates, () => orders(Object.values(decades))),
    c: unlessDoubted(evidence, ['null', ...armGates], () => order(orderMatched)),
    d: unlessDoubted(evidence, armGates, () => storage(half, wide)),
  };
  const inputs = {
    a: {
      ...shown('half', half.share),
      ...(single ? { ...shown('single', single.share), singleOnlyTies: single.onlyTies } : { single: null }),
    },
    b: Object.assign({}, ...Object.entries(decades).map(([metric, estimate]) => shown(metric, estimate))),
    c: { steps: orderMatched.steps, differingElements: orderMatched.differingElements },
    d: {
      ...shown('half', half.share),
      ...(wide ? shown('wideActivations', wide.share) : { wideActivations: null }),
    },
  };
  const sole = conjunction([found.a, found.c, found.d]);
  const note = evidence.singleAccumulation
    ? 'fp32 reordering amplified by 16-bit stores'
    : 'partial sums added in 16 bits';
  const verdict = (part: keyof typeof c3Rules, finding: Finding, numbers: Verdict['inputs']): Verdict => ({
    ...{ claim: 'C3', part, verdict: finding, rule: c3Rules[part], inputs: numbers, scope },
  });
  return [
    ...(['a', 'b', 'c', 'd'] as const).map((part) => verdict(part, found[part], inputs[part])),
    verdict('sole cause', sole, { a: found.a, c: found.c, d: found.d, mechanism: note }),
  ];
}

function flips(half: FlippedPrompts, single: FlippedPrompts | null): Finding {
  if (half.flipped === 0 || single === null) return 'not identifiable';
  if (single.flipped > single.onlyTies) return 'contradicted';
  return single.flipped === 0 && single.share.upper <= 0.1 * half.share.lower ? 'supported' : 'not identifiable';
}

function orders(decades: readonly Estimate[]): Finding {
  const [least, most] = [7.5, 8.5];
  if (decades.length === 0) return 'not identifiable';
  if (decades.some(({ lower, upper }) => lower >= least && upper <= most)) return 'supported';
  return decades.every(({ lower, upper }) => upper < least || lower > most) ? 'contradicted' : 'not identifiable';
}

function order({ steps, differingElements, padded }: C3Evidence['orderMatched']): Finding {
  if (differingElements > 0) return padded ? 'not identifiable' : 'contradicted';
  return steps >= enoughSteps ? 'supported' : 'not identifiable';
}

function storage(half: FlippedPrompts, wide: FlippedPrompts | null): Finding {
  if (half.flipped === 0 || wide === null) return 'not identifiable';
  if (wide.share.upper <= 0.1 * half.share.lower) return 'supported';
  return wide.share.lower >= 0.5 * half.share.upper ? 'contradicted' : 'not identifiable';
}
