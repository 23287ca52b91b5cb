/** Two rows that are not all rows at some step are noticed, and everything is measured again with all rows. */
import { afterAll, expect, test } from 'vitest';
import type { BlockOutput } from '../../../src/model/executor.ts';
import { Executor } from '../../../src/model/executor.ts';
import { keyedUniform } from '../../../src/model/sampling/choose.ts';
import { StepRunner } from '../../../src/patching/arms/step.ts';
import { twoByTwo } from '../../../src/patching/arms/two-by-two.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { executorOf, promptTokens, traced } from './traces.ts';

const dir = writeTinyCheckpoint({ layers: 3, seed: 3 });
afterAll(() => removeCheckpoint(dir));

/** Passes of two rows up to position `at` under patches come out nudged. */
class NudgesTwoRows extends Executor {
  at = -1;
  override async block(...step: Parameters<Executor['block']>): Promise<BlockOutput> {
    const output = await super.block(...step);
    const [, , rows, , kernel, capture] = step;
    const wrong = kernel === 'prefill' && rows.count === 2 && rows.start + 1 === this.at && capture.patches;
    return wrong ? { ...output, residual: output.residual.map((value) => value * 1.125) } : output;
  }
}

/** Prompt ids whose sample includes, or leaves out, sequence length n. */
function promptId(n: number, sampled: boolean): string {
  for (let i = 0; ; i++) {
    const id = `prompt ${i}`;
    if (keyedUniform(0, { prompt: id, step: n })(0xffffffff) < 1 / 16 === sampled) return id;
  }
}

test('a sampled step whose two rows differ: the whole measurement is repeated, and is right', async () => {
  const sound = await executorOf(dir, 'fp32');
  const faulty = new NudgesTwoRows(sound.options);
  const { trajectory } = await traced(sound);
  const step = 4;
  const n = promptTokens.length + step;
  faulty.at = n - 1;
  const runner = new StepRunner(faulty, promptId(n, true), { decodeRows: 1 });
  const found = await twoByTwo({ trajectory, runner, steps: [1, 2, step], horizons: [0] });
  expect(runner.prefillRows).toBe('all');
  expect(found.checks['patch-full']).toMatchObject({ differ: 0, failed: false });
  const right = await twoByTwo({
    trajectory,
    runner: new StepRunner(sound, 'x', { decodeRows: 1 }),
    steps: [1, 2, step],
    horizons: [0],
  });
  expect(found.cells).toEqual(right.cells);
  await Promise.all([sound.release(), faulty.release()]);
});

test('a step that is not sampled is caught by the exactness check of the full patch', async () => {
  const sound = await executorOf(dir, 'fp32');
  const faulty = new NudgesTwoRows(sound.options);
  const { trajectory } = await traced(sound);
  const n = promptTokens.length + 4;
  faulty.at = n - 1;
  const runner = new StepRunner(faulty, promptId(n, false), { decodeRows: 1 });
  const { checks } = await twoByTwo({ trajectory, runner, steps: [1, 4], horizons: [0] });
  expect(runner.prefillRows).toBe('two');
  expect(checks['patch-full'].failed).toBe(true);
  expect(checks['patch-full'].first).toMatch(/^logits, prompt test, step 4$/);
  await Promise.all([sound.release(), faulty.release()]);
});
