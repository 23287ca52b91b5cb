/** The placebo of a group: taken from one forward where that is proven, recomputed where it is not. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { referenceTo } from '../../../src/checkpoint/expand-kv.ts';
import type { Runner } from '../../../src/divergence/worker-pool.ts';
import type { ResolvedStudy } from '../../../src/study/definition/resolve.ts';
import { checkPlacebo } from '../../../src/study/placebo/index.ts';
import type * as PlaceboArms from '../../../src/study/placebo/placebo-arms.ts';
import { unitSettings } from '../../../src/study/run/study-identity.ts';
import type { GatesUnit, UnitJob, UnitResult } from '../../../src/study/unit/unit.ts';
import { openUnitRunner } from '../../../src/study/unit/unit-runner.ts';
import { resolved, tinyStudy } from '../run/tiny-study.ts';

// A permuted arm that is not its recomputation cannot be made: permuted keys are summed alike whatever their number.
vi.mock('../../../src/study/placebo/placebo-arms.ts', async (original) => {
  const found = await original<typeof PlaceboArms>();
  return { ...found, checkPlacebo: vi.fn(found.checkPlacebo) };
});

let study: ResolvedStudy;
const runners: Runner<UnitJob, UnitResult>[] = [];
beforeAll(async () => {
  study = await resolved({ ...tinyStudy({ limit: 2 }), strategies: ['greedy'] });
});
afterAll(() => Promise.all(runners.map((runner) => runner.close())));

async function measured(): Promise<GatesUnit> {
  const { models, groups, conditions, groupOf } = study;
  const references = [...models].map(([model, { checkpoint }]) => [model, referenceTo(checkpoint)]);
  const runner = await openUnitRunner({
    ...{ models: Object.fromEntries(references), groups, conditions, groupOf },
    ...{ settings: unitSettings(study), releasePlacebo: false, interruption: new Int32Array(new SharedArrayBuffer(4)) },
  });
  runners.push(runner);
  const [{ prompts }] = models.values();
  const unit = await runner.run({ kind: 'gates', group: 0, prompts });
  if (unit.kind !== 'gates') throw new Error('expected gates');
  return unit;
}
const placeboGate = ({ gates }: GatesUnit) => gates.find(({ name }) => name === 'placebo');

test('one forward, where a permuted arm is its honest recomputation', async () => {
  const unit = await measured();
  expect(unit.classes.length).toBeGreaterThan(0);
  expect(placeboGate(unit)).toMatchObject({ passed: true, measured: expect.stringMatching(/^0 of \d+ steps differ/) });
  expect(unit.placeboPlan).toBe('forward');
});

test('every step by itself, where it is not', async () => {
  const differing = { seed: 1, steps: 48, tokensEqual: true, differingSteps: 3, passed: false };
  vi.mocked(checkPlacebo).mockResolvedValueOnce(differing);
  const unit = await measured();
  expect(placeboGate(unit)).toMatchObject({
    status: 'failed',
    measured: expect.stringMatching(/^3 of 48 steps differ/),
  });
  expect(unit.placeboPlan).toBe('recompute');
});
