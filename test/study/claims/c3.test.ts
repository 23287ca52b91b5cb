import { describe, expect, it } from 'vitest';
import { type C3Evidence, judgeC3 } from '../../../src/study/claims/c3.ts';
import type { Estimate } from '../../../src/study/claims/claim.ts';

const at = (value: number, spread = 0): Estimate => ({ value, lower: value - spread, upper: value + spread });
const flips = (flipped: number, share: Estimate, onlyTies = 0) => ({ prompts: 400, flipped, onlyTies, share });
const none = flips(0, { value: 0, lower: 0, upper: 0.0075 });

/** Every part supported. */
const supporting: C3Evidence = {
  scope: 'test',
  failedGates: [],
  half: flips(80, at(0.2, 0.04)),
  single: none,
  wideActivations: none,
  decades: { l2: at(3.1, 0.1), kl: at(8, 0.2) },
  orderMatched: { steps: 1_000, differingElements: 0, padded: false },
  singleAccumulation: true,
};

const findings = (changes: Partial<C3Evidence>) =>
  Object.fromEntries(judgeC3({ ...supporting, ...changes }).map(({ part, verdict }) => [part, verdict]));

describe('C3', () => {
  it('is supported as a whole only if a, c and d are', () => {
    expect(findings({})).toEqual({
      ...{ a: 'supported', b: 'supported', c: 'supported', d: 'supported' },
      'sole cause': 'supported',
    });
    expect(findings({ orderMatched: { steps: 999, differingElements: 0, padded: false } })).toMatchObject({
      ...{ c: 'not identifiable', 'sole cause': 'not identifiable' },
    });
  });

  it('a: a flip in single precision contradicts it, an exact tie does not', () => {
    expect(findings({ single: flips(1, at(0.0025, 0.002)) })).toMatchObject({
      ...{ a: 'contradicted', 'sole cause': 'contradicted' },
    });
    expect(findings({ single: flips(1, at(0.0025, 0.002), 1) }).a).toBe('not identifiable');
  });

  it('a and d are open where half precision has no flip to lose', () => {
    expect(findings({ half: none })).toMatchObject({ a: 'not identifiable', d: 'not identifiable' });
  });

  it('a is open where the bound of single precision is not a tenth of the bound of half precision', () => {
    expect(findings({ half: flips(20, at(0.05, 0.02)) }).a).toBe('not identifiable');
  });

  it.each([
    ['inside for one metric', { l2: at(3), kl: at(7.6, 0.09) }, 'supported'],
    ['outside for all', { l2: at(3.1, 0.2), kl: at(6.3, 0.4) }, 'contradicted'],
    ['straddling a bound', { l2: at(3.1), kl: at(7.5, 0.3) }, 'not identifiable'],
    ['above', { kl: at(9, 0.4) }, 'contradicted'],
    ['not measured', {}, 'not identifiable'],
  ] as const)('b: decades %s', (_, decades, expected) => {
    expect(findings({ decades }).b).toBe(expected);
  });

  it('c: one differing element of order-matched decoding contradicts it, however few the steps', () => {
    expect(findings({ orderMatched: { steps: 3, differingElements: 1, padded: false } })).toMatchObject({
      ...{ c: 'contradicted', 'sole cause': 'contradicted' },
    });
  });

  it('c: padded arms sum in another order, so a difference between them says nothing; none is none', () => {
    const padded = (differingElements: number) => ({ orderMatched: { steps: 1_000, differingElements, padded: true } });
    expect(findings(padded(1))).toMatchObject({ c: 'not identifiable', 'sole cause': 'not identifiable' });
    expect(findings(padded(0)).c).toBe('supported');
  });

  it('d: flips that stay with wide activations contradict it', () => {
    expect(findings({ wideActivations: flips(70, at(0.18, 0.04)) }).d).toBe('contradicted');
    expect(findings({ wideActivations: flips(30, at(0.08, 0.04)) }).d).toBe('not identifiable');
  });

  const ends = (lower: number, upper: number): Estimate => ({ value: (lower + upper) / 2, lower, upper });
  const half = flips(80, ends(0.1, 0.3));
  it.each([
    ['a', { half, single: flips(0, ends(0, 0.01)) }, 'supported'],
    ['a', { half, single: flips(0, ends(0, 0.0101)) }, 'not identifiable'],
    ['b', { decades: { kl: ends(7.5, 8.5) } }, 'supported'],
    ['b', { decades: { kl: ends(7.5, 8.51) } }, 'not identifiable'],
    ['b', { decades: { kl: ends(7, 7.49) } }, 'contradicted'],
    ['b', { decades: { kl: ends(7, 7.5) } }, 'not identifiable'],
    ['c', { orderMatched: { steps: 999, differingElements: 0, padded: false } }, 'not identifiable'],
    ['c', { orderMatched: { steps: 1_000, differingElements: 0, padded: false } }, 'supported'],
    ['d', { half, wideActivations: flips(0, ends(0, 0.01)) }, 'supported'],
    ['d', { half, wideActivations: flips(0, ends(0, 0.0101)) }, 'not identifiable'],
    ['d', { half, wideActivations: flips(60, ends(0.15, 0.3)) }, 'contradicted'],
    ['d', { half, wideActivations: flips(60, ends(0.1499, 0.3)) }, 'not identifiable'],
  ] as const)('thresholds of %s: %o', (part, changes, expected) => {
    expect(findings(changes)[part]).toBe(expected);
  });

  it('what was not run leaves open what rests on it', () => {
    expect(findings({ single: null, decades: {} })).toMatchObject({
      ...{ a: 'not identifiable', b: 'not identifiable', d: 'supported', 'sole cause': 'not identifiable' },
    });
    expect(findings({ wideActivations: null })).toMatchObject({ a: 'supported', d: 'not identifiable' });
  });

  it('says "not identifiable" where a gate it rests on failed', () => {
    expect(findings({ failedGates: ['null'] })).toMatchObject({ a: 'supported', c: 'not identifiable' });
    expect(findings({ failedGates: ['prefix'] })).toMatchObject({ c: 'not identifiable', d: 'not identifiable' });
  });

  it('shows the numbers each rule read', () => {
    const [a] = judgeC3(supporting);
    expect(a.inputs).toMatchObject({ 'half.lower': 0.16, 'single.upper': 0.0075 });
  });
});
