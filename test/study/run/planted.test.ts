/** A study finds a bug that is planted in a few prompts, says that it is one, and does not see one where nothing is wrong. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Fault } from '../../../src/model/faults.ts';
import { RunDirectory } from '../../../src/store/run-directory.ts';
import { resolveStudy } from '../../../src/study/definition/resolve.ts';
import { parseStudy } from '../../../src/study/definition/schema.ts';
import type { StudyResult } from '../../../src/study/run/publish.ts';
import { runStudy } from '../../../src/study/run/study-run.ts';
import { isPlanted } from '../../../src/study/unit/planted.ts';
import { temporaryFolder } from '../../store/folder.ts';

const layers = [0, 1, 2, 3, 4, 5];
const rows = Array.from({ length: 40 }, (_, i) => 6 + i);
/** Rows of the prompt that were not written: they hold what row 2 holds. */
const stale: Fault[] = layers.flatMap((layer) =>
  rows.map((row) => ({ kind: 'stale-row', component: 'both', layer, row, holds: 2 }) as const),
);
/** By so little that the type the cache stores rounds it away. */
const harmless: Fault[] = [{ kind: 'scale-row', component: 'both', layer: 3, head: 1, row: 20, factor: 1 + 2 ** -14 }];

async function run(plant: { faults: Fault[]; share: number } | null): Promise<StudyResult> {
  const definition = parseStudy(
    {
      ...{ name: 'planted', models: ['mini-llama'], strategies: ['greedy'], precisions: ['fp16'], kernels: ['ort'] },
      ...{ prompts: { limit: 100 }, maxNewTokens: 40, profile: { prompts: 0 }, patching: { prompts: 0 } },
      ...{ placebo: { arms: 2 }, arms: ['cached', 'uncached'], temperatures: [] },
      ...(plant === null ? {} : { plant }),
    },
    'planted',
  );
  const study = await resolveStudy(definition, 'planted');
  const directory = RunDirectory.create({ out: temporaryFolder(), command: 'study', model: 'planted' });
  return runStudy({ study, run: directory, workers: 1, shard: null });
}

const first = (result: StudyResult) => {
  const results = result.outcome?.conditions[0].results;
  if (!results) throw new Error('no results');
  return results;
};

test('about the share of all prompts is drawn, the same ones every time', () => {
  const ids = Array.from({ length: 5000 }, (_, i) => `p${i}`);
  const drawn = ids.filter((id) => isPlanted(id, 0.02));
  expect(drawn.length).toBeGreaterThan(60);
  expect(drawn.length).toBeLessThan(145);
  expect(ids.filter((id) => isPlanted(id, 0.02))).toEqual(drawn);
  expect(ids.filter((id) => isPlanted(id, 0.5))).toEqual(expect.arrayContaining(drawn));
  expect(ids.some((id) => isPlanted(id, 0))).toBe(false);
  expect(ids.every((id) => isPlanted(id, 1))).toBe(true);
});

describe('a stale part of the cache in 2 % of the prompts', { timeout: 600_000 }, () => {
  let honest: StudyResult;
  let planted: StudyResult;
  beforeAll(async () => {
    honest = await run(null);
    planted = await run({ faults: stale, share: 0.02 });
  }, 600_000);

  test('raises the rate of texts that diverge', () => {
    expect(first(planted).planted).toBeGreaterThan(0);
    expect(first(planted).divergence.diverged).toBeGreaterThan(first(honest).divergence.diverged);
  });

  test('makes first flips suspect, of planted prompts alone, and they are called a bug of the state', () => {
    const { suspects, widest } = first(planted).firstDivergence;
    expect(suspects).toBeGreaterThan(0);
    const found = widest.filter(({ suspect }) => suspect);
    expect(found.every((flip) => flip.planted)).toBe(true);
    expect(planted.explained.map(({ prompt }) => prompt)).toEqual(
      expect.arrayContaining(found.map(({ prompt }) => prompt)),
    );
    expect(new Set(planted.explained.map(({ cause }) => cause))).toEqual(new Set(['state-bug']));
  });

  test('nothing of the kind is found without it', () => {
    expect(first(honest).firstDivergence.suspects).toBe(0);
    expect(honest.explained).toEqual([]);
  });
});

test('faults that change nothing are not found', { timeout: 600_000 }, async () => {
  const null_ = await run({ faults: harmless, share: 0.02 });
  expect(first(null_).planted).toBeGreaterThan(0);
  expect(first(null_).divergence.diverged).toBe(0);
  expect(first(null_).firstDivergence.suspects).toBe(0);
  expect(null_.explained).toEqual([]);
});
