import { describe, expect, it } from 'vitest';
import { type C5Evidence, judgeC5 } from '../../../src/study/claims/c5.ts';
import type { Estimate } from '../../../src/study/claims/claim.ts';

const at = (value: number, spread = 0.02): Estimate => ({ value, lower: value - spread, upper: value + spread });
const curve = (...points: [number, Estimate | null][]) => new Map(points);

/** What a cache that carries, but does not cause, looks like. */
const carrying: C5Evidence = {
  scope: 'test',
  failedGates: [],
  residual: curve([1, at(0.01)], [5, at(0)], [20, at(-0.03)]),
  history: curve([0, at(0.88)], [1, at(0.85)]),
  distance: { ordinary: 40, orderMatched: 0 },
};

const findings = (changes: Partial<C5Evidence>) =>
  Object.fromEntries(judgeC5({ ...carrying, ...changes }).map(({ part, verdict }) => [part, verdict]));

describe('C5', () => {
  it('tells a carrier from a root: the residual patch fails, history recovers, and matched order removes it', () => {
    expect(findings({})).toEqual({ a: 'supported', b: 'supported', c: 'contradicted' });
  });

  it('a: open while one horizon is, contradicted by recovery at any', () => {
    expect(findings({ residual: curve([1, at(0.01)], [5, at(0.2)], [20, at(0)]) }).a).toBe('not identifiable');
    expect(findings({ residual: curve([1, at(0.9)], [5, at(0.2)], [20, at(0)]) }).a).toBe('contradicted');
    // A horizon whose cells are all vacuous says nothing.
    expect(findings({ residual: curve([1, at(0.01)], [5, null], [20, at(0)]) }).a).toBe('not identifiable');
  });

  it('b: history that recovers little is no carrier', () => {
    expect(findings({ history: curve([0, at(0.15)], [1, at(0.12)]) }).b).toBe('contradicted');
    expect(findings({ history: curve([0, at(0.88)], [1, at(0.6)]) }).b).toBe('not identifiable');
  });

  it('c: the root needs a cache that keeps half of the distance in matched order, and carries it', () => {
    const kept = { distance: { ordinary: 40, orderMatched: 30 } };
    expect(findings(kept).c).toBe('supported');
    expect(findings({ ...kept, history: curve([0, at(0.15)], [1, at(0.12)]) }).c).toBe('not identifiable');
    expect(findings({ distance: { ordinary: 40, orderMatched: 10 } }).c).toBe('not identifiable');
    expect(findings({ distance: { ordinary: 0, orderMatched: 0 } }).c).toBe('not identifiable');
  });

  it('c: open where order-matched decoding was not run', () => {
    expect(findings({ distance: null })).toMatchObject({ b: 'supported', c: 'not identifiable' });
  });

  const ends = (lower: number, upper: number): Estimate => ({ value: (lower + upper) / 2, lower, upper });
  const residual = (estimate: Estimate) => curve([1, at(0)], [5, estimate], [20, at(0)]);
  it.each([
    ['a', { residual: residual(ends(0, 0.1)) }, 'supported'],
    ['a', { residual: residual(ends(0, 0.101)) }, 'not identifiable'],
    ['a', { residual: residual(ends(0.5, 0.9)) }, 'contradicted'],
    ['a', { residual: residual(ends(0.499, 0.9)) }, 'not identifiable'],
    ['b', { history: curve([0, ends(0.8, 1)], [1, ends(0.8, 1)]) }, 'supported'],
    ['b', { history: curve([0, ends(0.8, 1)], [1, ends(0.799, 1)]) }, 'not identifiable'],
    ['b', { history: curve([0, ends(0.8, 1)], [1, ends(0.1, 0.499)]) }, 'contradicted'],
    ['b', { history: curve([0, ends(0.8, 1)], [1, ends(0.1, 0.5)]) }, 'not identifiable'],
    ['b', { history: curve([0, ends(0.799, 1)], [1, ends(0.8, 1)]) }, 'not identifiable'],
    ['b', { history: curve([0, null], [1, ends(0.8, 1)]) }, 'not identifiable'],
    ['c', { distance: { ordinary: 40, orderMatched: 20 } }, 'supported'],
    ['c', { distance: { ordinary: 40, orderMatched: 19.9 } }, 'not identifiable'],
  ] as const)('thresholds of %s: %o', (part, changes, expected) => {
    expect(findings(changes)[part]).toBe(expected);
  });

  it('says "not identifiable" where the null gate failed', () => {
    expect(findings({ failedGates: ['null'] })).toEqual({
      ...{ a: 'supported', b: 'not identifiable', c: 'not identifiable' },
    });
  });
});
