/** Steps of the uncached arm may stand in for recomputation only where both gates show that they are. */
import { expect, test } from 'vitest';
import { standInHolds } from '../../src/divergence/stand-in.ts';
import type { GateResult } from '../../src/divergence/summary.ts';
import { policies } from '../../src/graph/rounding.ts';

const gate = (name: string, status: GateResult['status']): GateResult => ({
  ...{ name, class: 'identification', passed: status !== 'failed', status },
  ...{ measured: '', required: '', scope: '' },
});

const statuses = ['passed', 'failed', 'not-applicable'] as const;
const pairs = statuses.flatMap((nullGate) => statuses.map((prefix) => [nullGate, prefix] as const));

test.each(pairs)('null %s and prefix %s', (nullGate, prefix) => {
  const gates = [gate('repeat', 'passed'), gate('null', nullGate), gate('prefix', prefix)];
  const both = nullGate === 'passed' && prefix === 'passed';
  expect(standInHolds(policies.fp16, gates)).toBe(both);
  expect(standInHolds(policies.fp16, gates.toReversed())).toBe(both);
});

test('a gate that was not run shows nothing, and in double precision nothing stands in', () => {
  expect(standInHolds(policies.fp16, [gate('null', 'passed')])).toBe(false);
  expect(standInHolds(policies.fp16, [gate('prefix', 'passed')])).toBe(false);
  expect(standInHolds(policies.fp64, [gate('null', 'passed'), gate('prefix', 'passed')])).toBe(false);
});
