/**
 * C5: patching the whole residual stream does not bring the cache-free trajectory back, so the K/V cache is the causal
 * variable. Three readings that differ: the residual patch fails (a), the cache *carries* the difference (b), the cache is
 * its *root* (c). The headline is c; a can hold trivially, since one step repairs one row of many.
 */
import { armGates, type Estimate, type Evidence, type Finding, shown, unlessDoubted, type Verdict } from './claim.ts';

/** Recovery after an intervention, cells that are vacuous or exact by construction left out; null where none is left. */
export type RecoveryByHorizon = ReadonlyMap<number, Estimate | null>;

export interface C5Evidence extends Evidence {
  /** The residual stream of every layer replaced at the patched step. */
  residual: RecoveryByHorizon;
  /** All cached history replaced by the recomputed one at the patched step, the decode kernel kept. */
  history: RecoveryByHorizon;
  /**
   * Distances over the same steps: ordinary decoding, and order-matched decoding with the cache in use, its padding and its
   * faults; null where it was not run. Nothing is patched where arms are padded, so that what padding keeps supports no root.
   */
  distance: { ordinary: number; orderMatched: number } | null;
}

/** Steps after the patch at which a is judged. */
export const judgedHorizons = [1, 5, 20] as const;

export const c5Rules = {
  a: 'the residual patch fails: supported if the upper bound of R is at most 0.1 at horizons 1, 5 and 20; contradicted if the lower bound is at least 0.5 at one of them; R counts where at least 6 prompts have a cell that is neither vacuous nor exact by construction',
  b: 'the cache is the carrier: supported if the lower bound of R for recomputed history is at least 0.8 at the patched step and the next, so that D(recomputed, decode) / D(cached, decode), which is 1 − R at the patched step, is at most 0.2; contradicted if its upper bound is below 0.5 at one of the two; R counts as in a',
  c: 'the cache is the root: contradicted if order-matched decoding with the cache in use differs by 0 while ordinary decoding does not; supported if it keeps at least half of D and b is supported',
};

/** The verdicts on C5's parts. */
export function judgeC5(evidence: C5Evidence): Verdict[] {
  const { residual, history, distance, scope } = evidence;
  const b = unlessDoubted(evidence, ['null', ...armGates], () => carrier(history));
  const found = {
    a: unlessDoubted(evidence, armGates, () => residualFails(residual)),
    b,
    c: unlessDoubted(evidence, ['null', ...armGates], () => root(distance, b)),
  };
  const inputs = {
    a: horizons('R', residual, judgedHorizons),
    b: horizons('R', history, [0, 1]),
    c: { ordinary: distance?.ordinary ?? null, orderMatched: distance?.orderMatched ?? null, b },
  };
  return (['a', 'b', 'c'] as const).map((part) => ({
    ...{ claim: 'C5', part, verdict: found[part], rule: c5Rules[part], inputs: inputs[part], scope },
  }));
}

function residualFails(residual: RecoveryByHorizon): Finding {
  const found = judgedHorizons.flatMap((horizon) => residual.get(horizon) ?? []);
  if (found.some(({ lower }) => lower >= 0.5)) return 'contradicted';
  const all = found.length === judgedHorizons.length;
  return all && found.every(({ upper }) => upper <= 0.1) ? 'supported' : 'not identifiable';
}

function carrier(history: RecoveryByHorizon): Finding {
  const found = [0, 1].map((horizon) => history.get(horizon) ?? null);
  if (found.some((estimate) => estimate !== null && estimate.upper < 0.5)) return 'contradicted';
  const recovers = found.every((estimate) => estimate !== null && estimate.lower >= 0.8);
  return recovers ? 'supported' : 'not identifiable';
}

function root(distance: C5Evidence['distance'], carries: Finding): Finding {
  if (distance === null || distance.ordinary === 0) return 'not identifiable';
  const { ordinary, orderMatched } = distance;
  if (orderMatched === 0) return 'contradicted';
  return orderMatched >= 0.5 * ordinary && carries === 'supported' ? 'supported' : 'not identifiable';
}

function horizons(name: string, recovery: RecoveryByHorizon, wanted: readonly number[]): Record<string, number | null> {
  return Object.assign(
    {},
    ...wanted.map((horizon) => {
      const estimate = recovery.get(horizon);
      return estimate ? shown(`${name}@${horizon}`, estimate) : { [`${name}@${horizon}`]: null };
    }),
  );
}
