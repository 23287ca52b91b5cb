/** Recovery's closed forms. */
import { expect, test } from 'vitest';
import { distanceTo, pooledRecovery, recoveryOf, tokenReturn } from '../../../src/patching/arms/recovery.ts';

const row = (...values: number[]) => Float32Array.from(values);

test('distance is L2 of centred logits: a constant shift is none, but is not exact', () => {
  expect(distanceTo(row(1, 2, 3), row(2, 3, 4))).toMatchObject({ l2: 0, differ: 3 });
  // (1, −1, 0) has mean 0 and norm √2.
  expect(distanceTo(row(0, 0, 0), row(1, -1, 0)).l2).toBeCloseTo(Math.SQRT2, 12);
  // p = (1/2, 1/2), q = (e, 1)/(e + 1): KL = log((e + 1)/2) − 1/2.
  expect(distanceTo(row(0, 0), row(1, 0)).kl).toBeCloseTo(Math.log((Math.E + 1) / 2) - 0.5, 12);
});

test('a patch that removes three quarters of the distance recovers 0.75, one that doubles it −1', () => {
  const base = { l2: 4, kl: 8, differ: 3 };
  expect(recoveryOf(base, { l2: 1, kl: 4, differ: 3 })).toMatchObject({
    recovery: 0.75,
    recoveryKl: 0.5,
    exact: false,
  });
  expect(recoveryOf(base, { l2: 8, kl: 8, differ: 3 })).toMatchObject({
    ...{ recovery: -1, recoveryKl: 0 },
    // Harmful is a patch of what was right, not one that makes a difference worse.
    harmful: false,
  });
  expect(recoveryOf(base, { l2: 0, kl: 0, differ: 0 })).toMatchObject({ recovery: 1, exact: true, vacuous: false });
});

test('nothing to recover is vacuous, or harmful if the patch made a difference, and has no ratio', () => {
  const none = { l2: 0, kl: 0, differ: 0 };
  expect(recoveryOf(none, none)).toMatchObject({ recovery: null, vacuous: true, exact: true, harmful: false });
  expect(recoveryOf(none, { l2: 1, kl: 1, differ: 1 })).toMatchObject({
    recovery: null,
    vacuous: false,
    harmful: true,
  });
});

test('over cells R is one minus a ratio of sums, not a mean of ratios', () => {
  // Ratios 0.5 and 0.9 would average to 0.7; the sums say 1 − (5 + 0.1) / (10 + 1).
  const cells = [
    { base: 10, patched: 5 },
    { base: 1, patched: 0.1 },
  ];
  expect(pooledRecovery(cells)).toBeCloseTo(1 - 5.1 / 11, 12);
  expect(pooledRecovery([{ base: 0, patched: 0 }])).toBeNull();
});

test('tokens return at the first equal one, and follow up to the first that is not', () => {
  expect(tokenReturn([false, false, true, true, false])).toEqual({ first: 2, follows: 0, toTheEnd: false });
  expect(tokenReturn([true, true, false])).toEqual({ first: 0, follows: 2, toTheEnd: false });
  expect(tokenReturn([true, true])).toEqual({ first: 0, follows: 2, toTheEnd: true });
  expect(tokenReturn([false])).toEqual({ first: null, follows: 0, toTheEnd: false });
});
