/** A sweep says when it is not exact, and is then right all the same; it can be watched, stopped and resumed. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../../src/checkpoint/types.ts';
import { InterruptedError } from '../../../src/errors.ts';
import { findHook, hookName } from '../../../src/graph/hooks.ts';
import { resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import { type BlockOutput, Executor } from '../../../src/model/executor.ts';
import { baseRun } from '../../../src/patching/sweep/base-run.ts';
import { type Cell, cellKey } from '../../../src/patching/sweep/cells.ts';
import { type SweepRequest, sweep } from '../../../src/patching/sweep/sweep.ts';
import { LengthDependentRotary } from '../../divergence/gates/faulty-executors.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { differing } from './loop.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
const clean = [1, 5, 9, 33, 2, 70, 12, 8, 3, 4];
const corrupted = [1, 5, 44, 33, 2, 70, 13, 8, 3, 4];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  removeCheckpoint(dir);
});

type Make = new (options: ConstructorParameters<typeof Executor>[0]) => Executor;
let checkpoint: Checkpoint | undefined;

/** A sweep over resid_pre and z by layer and position, whose values are the logits of the last row. */
async function run(
  Kind: Make = Executor,
  options: Partial<SweepRequest<number[]>> = {},
  precision = 'fp16',
  kernels = 'ort',
) {
  checkpoint ??= await openCheckpoint(dir);
  const policy = resolvePolicy(precision);
  const executor = new Kind({ checkpoint, policy, kernels: resolveKernels(kernels), threads: 1 });
  executors.push(executor);
  const cells = ['resid_pre', 'attn.z'].flatMap((kind) =>
    [0, 1, 2].flatMap((layer) =>
      clean.map((_, pos): Cell => ({ hook: findHook(hookName(kind, layer), executor.config)!, at: { pos } })),
    ),
  );
  const hooks = new Set(cells.map(({ hook }) => hook.name));
  const { values } = await baseRun(executor, clean, hooks);
  const evaluate = (logits: ArrayLike<number>) => Array.from(logits);
  const result = await sweep<number[]>({
    ...{ executor, tokens: corrupted, cells, clean: values, reads: [clean.length - 1], evaluate },
    ...options,
  });
  return { ...result, cells };
}

const differ = (a: { values: number[][] }, b: { values: number[][] }) =>
  a.values.filter((value, i) => differing(value, b.values[i]) > 0).length;

/** Rows that run side by side disturb each other. */
class DisturbedByNeighbours extends Executor {
  override async block(...step: Parameters<Executor['block']>): Promise<BlockOutput> {
    const output = await super.block(...step);
    return (step[2].batch ?? 1) > 1 ? { ...output, residual: output.residual.map((x) => x * (1 + 2 ** -7)) } : output;
  }
}

/** Passes that read a history go wrong from some time on. */
class WrongLater extends Executor {
  static broken = false;
  override async block(...step: Parameters<Executor['block']>): Promise<BlockOutput> {
    const output = await super.block(...step);
    const isWrong = step[2].start > 0 && WrongLater.broken;
    return isWrong ? { ...output, residual: output.residual.map((x) => x * (1 + 2 ** -7)) } : output;
  }
}

describe('what is not exact', () => {
  test('rows that depend on how many run together: every cell is a full pass', async () => {
    const faulty = await run(LengthDependentRotary);
    expect(faulty.method).toMatchObject({ mode: 'loop', resumed: 0 });
    expect(faulty.method.looped).toBeGreaterThan(30);
    expect(faulty.method.reason).toMatch(/^batched cells are not full passes: .* elements differ/);
    expect(differ(faulty, await run(LengthDependentRotary, { method: 'loop' }))).toBe(0);
  });

  test('runs that disturb each other: cells resume one by one', async () => {
    const faulty = await run(DisturbedByNeighbours);
    expect(faulty.method).toMatchObject({ mode: 'single', looped: 0 });
    expect(faulty.method.reason).toMatch(/^batched cells/);
    expect(differ(faulty, await run())).toBe(0);
  });

  test('a fault that the probe cannot see is found by the sample, and all cells are run again', async () => {
    const replaced: number[] = [];
    WrongLater.broken = false;
    const faulty = await run(WrongLater, {
      seed: 5,
      onCell: (index) => {
        replaced.push(index);
        // Vacuous cells come first, then those that ran beside the probe.
        WrongLater.broken ||= replaced.length > 30;
      },
    });
    expect(faulty.method.mode).toBe('loop');
    expect(faulty.method.reason).toMatch(/not full passes/);
    expect(differ(faulty, await run())).toBe(0);
    expect(replaced.length).toBeGreaterThan(new Set(replaced).size);
  });
});

test('a sample that fails takes the values of an earlier sitting with it', async () => {
  WrongLater.broken = false;
  const honest = await run();
  const lies = new Map(honest.cells.map((cell, i) => [cellKey(cell), honest.values[i].map((x) => x + 1)]));
  const vacuous = honest.cells.filter((_, i) => honest.changed[i] === 0);
  for (const cell of vacuous) lies.delete(cellKey(cell));
  // Progress is reported once before the probe and then for what ran beside it, which is right.
  let reports = 0;
  const onProgress = () => {
    reports += 1;
    WrongLater.broken = reports > 1;
  };
  const faulty = await run(WrongLater, { finished: lies, onProgress, seed: 5 });
  expect(faulty.method).toMatchObject({ mode: 'loop', given: 0, looped: 60 - vacuous.length });
  expect(differ(faulty, honest)).toBe(0);
});

describe('what is exact', () => {
  test.each([
    ['fp32', 'ort'],
    ['bf16', 'ort'],
    ['fp16', 'ort-unpacked'],
    ['fp16', 'folded'],
    ['fp16-sdpa', 'ort'],
  ])('%s, %s: resumed cells are full passes', async (precision, kernels) => {
    const resumed = await run(Executor, {}, precision, kernels);
    const loop = await run(Executor, { method: 'loop' }, precision, kernels);
    expect(resumed.method).toMatchObject({ mode: 'batched', reason: null, equality: '0 elements differ' });
    // The first, the last and one of each kind before, three after.
    expect(resumed.method.compared).toBe(2 + 2 + 3);
    expect(differ(resumed, loop)).toBe(0);
    expect(loop.method).toMatchObject({ mode: 'loop', reason: null, compared: 0 });
  });

  test('float64 is held to the tolerance of the gates, and says so', async () => {
    const { values, method } = await run(Executor, {}, 'fp64');
    const loop = await run(Executor, { method: 'loop' }, 'fp64');
    expect(method.equality).toBe('relative L2 ≤ 1e-12 per row (float64)');
    values.forEach((row, i) => {
      const norm = Math.hypot(...loop.values[i]);
      expect(Math.hypot(...row.map((x, j) => x - loop.values[i][j])) / norm).toBeLessThan(1e-12);
    });
  });

  test('one token, and two', async () => {
    checkpoint ??= await openCheckpoint(dir);
    const executor = new Executor({
      ...{ checkpoint, policy: resolvePolicy('fp16'), kernels: resolveKernels('ort-unpacked'), threads: 1 },
    });
    executors.push(executor);
    for (const length of [1, 2]) {
      const cells = [0, 1, 2].map(
        (layer): Cell => ({ hook: findHook(hookName('attn_out', layer), executor.config)!, at: { pos: 0 } }),
      );
      const { values } = await baseRun(
        executor,
        [7, 8].slice(0, length),
        cells.map(({ hook }) => hook.name),
      );
      const request = {
        executor,
        tokens: [9, 8].slice(0, length),
        cells,
        clean: values,
        reads: [length - 1],
        evaluate: (logits: ArrayLike<number>) => Array.from(logits),
      };
      const found = await sweep(request);
      expect(differ(found, await sweep({ ...request, method: 'loop' }))).toBe(0);
    }
  });
});

describe('a sweep', () => {
  test('reports progress up to the number of cells, and each cell once', async () => {
    const seen: number[] = [];
    const cells: number[] = [];
    await run(Executor, {
      onProgress: ({ done, total }) => seen.push(done / total),
      onCell: (index) => cells.push(index),
    });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(cells.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });

  test('stops when told to; a second sweep that is given its cells runs the others, with the same result', async () => {
    const controller = new AbortController();
    const finished = new Map<string, number[]>();
    const whole = await run();
    const onCell = (index: number, value: number[]) => finished.set(cellKey(whole.cells[index]), value);
    const onProgress = ({ done }: { done: number }) => {
      if (done > 30) controller.abort();
    };
    await expect(run(Executor, { onCell, onProgress, signal: controller.signal })).rejects.toThrow(InterruptedError);
    expect(finished.size).toBeGreaterThan(30);
    expect(finished.size).toBeLessThan(60);
    const given = whole.cells.filter((cell, i) => finished.has(cellKey(cell)) && whole.changed[i] > 0);
    const rest = await run(Executor, { finished });
    expect(rest.method.given).toBe(finished.size);
    expect(rest.method.resumed).toBe(60 - rest.method.vacuous - given.length);
    // What is computed both ways does not depend on what was finished.
    expect(rest.method.compared).toBe(whole.method.compared);
    expect(differ(rest, whole)).toBe(0);
    const all = new Map(whole.values.map((value, i) => [cellKey(whole.cells[i]), value]));
    const none: number[] = [];
    const again = await run(Executor, { finished: all, onCell: (index) => none.push(index) });
    expect(again.method).toMatchObject({ given: 60, resumed: 0, compared: whole.method.compared });
    expect(none).toEqual([]);
    expect(differ(again, whole)).toBe(0);
  });

  test('the cells that are computed both ways follow from the seed alone', async () => {
    const one = await run(Executor, { seed: 1 });
    const two = await run(Executor, { seed: 2 });
    expect(differ(one, two)).toBe(0);
  });
});
