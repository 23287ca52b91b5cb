/** Which first flips are explained at once. */
import { expect, test } from 'vitest';
import { largestDrift, leansFurther } from '../../../src/study/unit/own-placebo.ts';
import { driftBin, type FlipSummary, type PlaceboSummary } from '../../../src/study/unit/unit-summary.ts';

const flip = (margin: number | null, boundary = false): FlipSummary => ({ step: 3, margin, tie: false, boundary });
const placebo = (...values: number[]): PlaceboSummary => ({
  ...{ correct: [], divergedAt: [] },
  drift: values.map((value) => [driftBin(value), 500]),
});
const quiet = placebo(0.001, 0.01);

test.each([
  ['wider than every drift', flip(0.011), quiet, true],
  ['of a drift’s width, up to its bin', flip(0.01), quiet, false],
  ['wider than some drifts', flip(0.005), quiet, false],
  ['decided by the cut, however wide', flip(5, true), quiet, false],
  ['without a margin', flip(null), quiet, false],
  ['none at all', undefined, quiet, false],
  ['beside a placebo without a drift', flip(5), placebo(), false],
  ['without a placebo', flip(5), null, false],
] as const)('%s', (_, first, own, leans) => {
  expect(leansFurther(first, largestDrift(own))).toBe(leans);
});
