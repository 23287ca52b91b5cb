/** A program on a tape makes the passes it makes without one, and a program that takes another course is noticed. */
import { afterAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { modelHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Arm } from '../../src/model/arms.ts';
import { Executor, type ExecutorOptions } from '../../src/model/executor.ts';
import { stagesOf, Tape } from '../../src/model/tape.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa', layers: 3 });
afterAll(() => removeCheckpoint(dir));
const checkpoint = await openCheckpoint(dir);
const { layers } = checkpoint.config;
const tokens = [1, 17, 5, 88, 42, 42, 7, 63];

function open(changes: Partial<ExecutorOptions> = {}): Executor {
  return new Executor({
    ...{ checkpoint, policy: resolvePolicy('fp16'), kernels: resolveKernels('ort'), threads: 1 },
    ...changes,
  });
}

/** Prefill of five tokens, then decode steps; what each captured. */
async function decode(executor: Executor) {
  const hooks = new Set(modelHooks(checkpoint.config).map(({ name }) => name));
  const arm = Arm.cached(executor, tokens.length, 1);
  const steps = [await arm.prefill(tokens.slice(0, 5), { hooks })];
  for (let n = 6; n <= tokens.length; n++) steps.push(await arm.step(tokens.slice(0, n), { hooks }));
  return steps.map((step) => new Map([...step.activations].map(([name, { data }]) => [name, Array.from(data)])));
}

describe('a program, stage by stage', () => {
  test.each([
    ['graphs of their own', {}],
    ['graphs that all passes share', { sharedHooks: new Set(modelHooks(checkpoint.config).map(({ name }) => name)) }],
  ])('captures what it captures at once (%s)', async (_, changes) => {
    const whole = open();
    const expected = await decode(whole);
    const tape = new Tape(layers);
    const executor = open({ ...changes, tape });
    const found = expected.map(() => new Map<string, number[]>());
    for (const stage of stagesOf(layers)) {
      tape.begin(stage);
      const steps = await decode(executor);
      steps.forEach((step, i) => {
        for (const [name, data] of step) {
          expect(found[i].has(name)).toBe(false);
          found[i].set(name, data);
        }
      });
      await executor.release();
    }
    for (const [i, step] of expected.entries()) {
      expect(found[i].size).toBe(step.size);
      for (const [name, data] of step) expect([name, found[i].get(name)]).toEqual([name, data]);
    }
    expect(executor.passes.block.list()).toEqual([
      { rows: 5, past: 0, count: layers },
      ...[5, 6, 7].map((past) => ({ rows: 1, past, count: layers })),
    ]);
    await whole.release();
  });

  test('returns logits at the last stage alone', async () => {
    const tape = new Tape(layers);
    const executor = open({ tape });
    for (const stage of stagesOf(layers)) {
      tape.begin(stage);
      const { logits } = await Arm.cached(executor, 5, 1).prefill(tokens.slice(0, 5), { hooks: new Set() });
      expect(logits.length).toBe(stage === layers ? checkpoint.config.vocabSize : 0);
    }
    await executor.release();
  });
});

describe('a program that takes another course', () => {
  async function replay(second: (executor: Executor) => Promise<unknown>): Promise<void> {
    const tape = new Tape(layers);
    const executor = open({ tape });
    tape.begin(-1);
    await Arm.cached(executor, 8, 1).prefill(tokens, { hooks: new Set() });
    tape.begin(0);
    await second(executor);
    tape.begin(1);
  }
  const prefill = (executor: Executor, n: number) =>
    Arm.cached(executor, 8, 1).prefill(tokens.slice(0, n), { hooks: new Set() });

  test('with other rows', async () => {
    await expect(replay((executor) => prefill(executor, 7))).rejects.toThrow(
      'tape: pass 0 is prefill of rows 0 … 6 at stage 0, it was prefill of rows 0 … 7',
    );
  });
  test('with one pass more', async () => {
    const twice = async (executor: Executor) => [await prefill(executor, 8), await prefill(executor, 8)];
    await expect(replay(twice)).rejects.toThrow('tape: pass 1 is prefill of rows 0 … 7 at stage 0, it was none');
  });
  test('with one pass less', async () => {
    await expect(replay(async () => null)).rejects.toThrow('stage 1 begins after 0 of 1 passes of stage 0');
  });
});
