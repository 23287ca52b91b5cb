/** A run of a study: the same bytes every time, and an interruption keeps what is finished. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { InputError, InterruptedError } from '../../../src/errors.ts';
import { Executor } from '../../../src/model/executor.ts';
import { openArrow } from '../../../src/store/reader.ts';
import { RunDirectory } from '../../../src/store/run-directory.ts';
import type { ResolvedStudy } from '../../../src/study/definition/resolve.ts';
import { runStudy, type StudyProgress } from '../../../src/study/run/study-run.ts';
import { unitTables } from '../../../src/study/unit/unit.ts';
import { contents, resolved, run, temporaryFolder, tinyStudy, unlike } from './tiny-study.ts';

const folder = temporaryFolder();
const whole = join(folder, 'whole');
const input = tinyStudy({ limit: 3 });
let study: ResolvedStudy;
beforeAll(async () => {
  study = await resolved(input);
  await run(study, whole);
});

test('a second run has the same bytes, the manifest’s provenance apart', async () => {
  const second = join(folder, 'second');
  await run(study, second);
  expect(unlike(second, whole)).toEqual([]);
  const manifest: { provenance: { rows: Record<string, number> } } = JSON.parse(
    readFileSync(join(whole, 'manifest.json'), 'utf8'),
  );
  // Its texts are equal, so that there is no flip to have candidates.
  for (const table of unitTables.filter((name) => name !== 'candidates'))
    expect(manifest.provenance.rows[`${table}.arrow`], table).toBeGreaterThan(0);
});

test('placebo arms that are loaded anew for each prompt change no byte, and are loaded that often', async () => {
  const closed = vi.spyOn(Executor.prototype, 'releaseKernel');
  const closedIn = async (name: string, releasePlacebo: boolean) => {
    closed.mockClear();
    await run(study, join(folder, name), { releasePlacebo });
    return closed.mock.calls.length;
  };
  // Three prompts, two strategies, two arms.
  expect((await closedIn('released', true)) - (await closedIn('kept', false))).toBe(12);
  expect(unlike(join(folder, 'released'), whole)).toEqual([]);
  closed.mockRestore();
});

test('interrupted among the placebo arms of a prompt, it ends before the next arm, and begins that prompt anew', async () => {
  const out = join(folder, 'among-arms');
  const many = await resolved({ ...input, placebo: { arms: 5 } });
  const interruption = new AbortController();
  // The gates close kernels too; of a unit only its placebo does.
  let arms: number | undefined;
  const closed = vi.spyOn(Executor.prototype, 'releaseKernel').mockImplementation(async () => {
    if (arms === undefined) return;
    arms += 1;
    interruption.abort();
  });
  const stopped = run(many, out, {
    ...{ signal: interruption.signal, releasePlacebo: true },
    onUnit: () => {
      arms ??= 0;
    },
  });
  await expect(stopped).rejects.toThrow(InterruptedError);
  await expect(stopped).rejects.toThrow(/interrupted after 0 of 6 units; they are in .*among-arms, and --resume/);
  expect(arms).toBe(1);
  closed.mockRestore();
  expect(readdirSync(out)).toEqual(['journal.jsonl']);
  const uninterrupted = join(folder, 'five-arms');
  await run(many, uninterrupted);
  await run(many, out, { resume: true });
  expect(unlike(out, uninterrupted)).toEqual([]);
});

test('C5 reads the cells that a run patches', async () => {
  const patching = { prompts: 6, every: 4 };
  const patched = await resolved({
    ...tinyStudy({ limit: 6 }),
    strategies: ['greedy'],
    patching,
    placebo: { arms: 0 },
  });
  const { outcome } = await run(patched, join(folder, 'patched'));
  const { verdicts, conditions } = outcome!;
  const recovery = (spec: string, history: string, horizon: number) =>
    conditions[0].results!.cells.find(
      (cell) => cell.spec === spec && cell.history === history && cell.kernel === 'decode' && cell.horizon === horizon,
    )!.recovery!.value;
  const inputs = (part: string) =>
    verdicts.find((verdict) => verdict.claim === 'C5' && verdict.part === part && verdict.model !== null)!.inputs;
  expect(inputs('a')['R@1']).toBe(recovery('residual', 'cached', 1));
  expect(inputs('b')['R@0']).toBe(recovery('two-by-two', 'recomputed', 0));
});

test('where the uncached arm depends on its length, every step of it is recomputed', async () => {
  // Keys cut in two parts: which of them share a part depends on how many there are.
  const cut = { attention: 'per-head', prepack: true, classes: { values: { slices: 2, combine: 'storage' } } } as const;
  const uneven = await resolved({
    ...tinyStudy({ limit: 2 }),
    ...{ strategies: ['greedy'], kernels: [{ name: 'uneven', prefill: cut, decode: cut }], placebo: { arms: 0 } },
  });
  const { outcome } = await run(uneven, join(folder, 'uneven'));
  const [{ failedGates, results }] = outcome!.conditions;
  expect(failedGates).toContain('prefix');
  const { uncached, prompts, steps } = results!;
  expect(uncached).toEqual({ checked: expect.any(Number), failed: 0, recomputed: prompts, steps: steps + prompts });
  const usual = (await run(study, join(folder, 'usual'))).outcome!.conditions[0].results!;
  expect(usual.uncached.recomputed).toBe(0);
  expect(usual.uncached.checked).toBeGreaterThan(0);
});

test('interrupted after every unit in turn, it ends with the bytes of one run', async () => {
  const out = join(folder, 'stepwise');
  let sittings = 0;
  for (let ended = false; !ended; sittings++) {
    const interruption = new AbortController();
    let first: number | undefined;
    try {
      await run(study, out, {
        ...{ resume: true, signal: interruption.signal },
        onUnit: (done) => {
          first ??= done;
          if (done > first) interruption.abort();
        },
      });
      ended = true;
    } catch (error) {
      expect(error).toBeInstanceOf(InterruptedError);
      expect(String(error)).toMatch(
        new RegExp(
          `interrupted after ${sittings + 1} of 6 units; they are in .*stepwise, and --resume --out .* goes on`,
        ),
      );
      expect(readdirSync(out)).toEqual(['journal.jsonl']);
    }
  }
  expect(sittings).toBe(6);
  expect(unlike(out, whole)).toEqual([]);
});

/** Both arms' candidates at the first step of each text at which their tokens differ, and no others. */
async function expectCandidatesOfFlips(run: string): Promise<void> {
  const columns = async (table: string, ...names: string[]) => {
    const file = await openArrow(join(run, `${table}.arrow`));
    const found = await file.table();
    await file.close();
    return Array.from({ length: found.numRows }, (_, i) => names.map((name) => found.getChild(name)!.get(i)));
  };
  const answers = await columns('answers', 'condition', 'prompt', 'arm', 'tokens');
  const textOf = (condition: unknown, prompt: unknown, arm: string): number[] => {
    const row = answers.find((each) => each[0] === condition && each[1] === prompt && each[2] === arm);
    return Array.from(row![3] as Iterable<number>);
  };
  const expected = answers.flatMap(([condition, prompt, arm]) => {
    if (arm !== 'cached') return [];
    const [cached, uncached] = [textOf(condition, prompt, 'cached'), textOf(condition, prompt, 'uncached')];
    const step = cached.findIndex((token, i) => token !== uncached[i]);
    if (step < 0) return [];
    return [
      [condition, prompt, step, 'cached', cached[step]],
      [condition, prompt, step, 'uncached', uncached[step]],
    ];
  });
  expect(expected.length).toBeGreaterThan(0);
  expect(await columns('candidates', 'condition', 'prompt', 'step', 'arm', 'token')).toEqual(expected);
}

test('it tells how many units are done, and the flips in them', async () => {
  const settings = { strategies: ['greedy'], precisions: ['bf16'], kernels: ['split-k:8:storage'], maxNewTokens: 30 };
  const none = { profile: { prompts: 0 }, patching: { prompts: 0 }, placebo: { arms: 0 } };
  const flipping = await resolved({ ...tinyStudy({ limit: 12 }), ...settings, ...none });
  const told: StudyProgress[] = [];
  const { outcome } = await runStudy({
    ...{ study: flipping, shard: null, workers: 1, onProgress: (state) => told.push(state) },
    run: RunDirectory.create({ command: 'study', model: 'tiny', out: join(folder, 'flipping') }),
  });
  await expectCandidatesOfFlips(join(folder, 'flipping'));
  const flips = outcome!.conditions[0].results!.flips.flips;
  expect(flips).toBeGreaterThan(0);
  const units = told.filter(({ stage }) => stage === 'units');
  expect(units.map(({ done }) => done)).toEqual(Array.from({ length: 13 }, (_, done) => done));
  expect(units.at(-1)).toMatchObject({ total: 12, flips, condition: outcome!.conditions[0].condition });
});

test('taken over by another process while its files are written, it publishes nothing', async () => {
  const out = join(folder, 'taken');
  const taken = runStudy({
    ...{ study, shard: null, workers: 1, run: RunDirectory.create({ command: 'study', model: 'tiny', out }) },
    onProgress: ({ stage }) => {
      if (stage === 'files') rmSync(join(out, '.journal.jsonl.owner'));
    },
  });
  await expect(taken).rejects.toThrow(/was taken over, or was removed; this process ends/);
  expect(readdirSync(out)).toEqual(['journal.jsonl']);
});

test('interrupted before its gates, a shard without units is not finished', async () => {
  const out = join(folder, 'empty-shard');
  const shard = { index: 9, of: 9 };
  const early = run(study, out, { shard, signal: AbortSignal.abort() });
  await expect(early).rejects.toThrow(InterruptedError);
  await expect(early).rejects.toThrow(/interrupted after 0 of 0 units/);
  expect(existsSync(join(out, 'manifest.json'))).toBe(false);
  expect((await run(study, out, { shard, resume: true })).units).toBe(0);
});

test('other settings do not go on with a run, and leave it as it is', async () => {
  const out = join(folder, 'changed');
  await expect(run(study, out, { signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
  const before = contents(out);
  const other = await resolved({ ...input, maxNewTokens: 9 });
  const refused = run(other, out, { resume: true });
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(/another run's: .*settings\.maxNewTokens was 12, is 9/);
  expect(contents(out)).toEqual(before);
});
