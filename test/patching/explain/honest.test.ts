/** Honest runs whose tokens flip: rounding and summation order are never called a state bug. */
import { afterAll, describe, expect, test } from 'vitest';
import { renderExplanation } from '../../../src/report/terminal/index.ts';
import { embeddedSubject, explainRun, gatesThatHeld, type RunOptions, type Subject } from './subject.ts';

const subjects: Subject[] = [];
afterAll(async () => {
  for (const { executor } of subjects) await executor.release();
});
async function subject(...of: Parameters<typeof embeddedSubject>): Promise<Subject> {
  const made = await embeddedSubject(...of);
  subjects.push(made);
  return made;
}

const sampled: RunOptions['strategy'] = {
  kind: 'sample',
  ...{ temperature: 1, topK: null, topP: null, seed: 3, sampler: 'gumbel' },
};

/** Lines of the prompt files in which a token flips on the processor these figures are from; elsewhere another step is explained. */
describe('a flip without a fault', () => {
  test.each([
    ['mini-mistral', 'fp16', 'ort', [79, 3], {}],
    ['mini-mistral', 'fp16', 'ort-unpacked', [1, 3], {}],
    ['mini-llama', 'fp16', 'ort-unpacked', [6, 3], {}],
    ['mini-gemma2', 'bf16', 'ort', [0, 1, 2], {}],
    ['mini-gemma2', 'bf16', 'ort-unpacked', [0, 1], { strategy: sampled }],
  ] as const)('%s, %s, %s', async (model, precision, kernels, lines, options) => {
    const of = await subject(model, precision, lines, kernels);
    const { verdict, step } = await explainRun(of, { steps: 45, ...options });
    if (step === null) throw new Error('something differs in these runs');
    expect(step.state).toBeNull();
    expect(step.later).toBeNull();
    // What the rules rest on, whatever the processor: no bit is left of the difference with two rows, and the 2×2's exact cell.
    expect(step.orderMatched).toMatchObject({ exact: true, differ: 0, first: null });
    expect(step.cells.find(({ history, kernel }) => history === 'recomputed' && kernel === 'prefill')).toMatchObject({
      ...{ exact: true, l2: 0, token: step.uncached.token },
    });
    expect(step.cells.find(({ history, kernel }) => history === 'cached' && kernel === 'decode')).toMatchObject({
      token: step.cached.token,
    });
    const tied = step.uncached.tie || step.cached.tie;
    expect(verdict).toMatchObject(
      step.flip && tied
        ? { cause: 'benign-tie', rule: 'exact-tie' }
        : { cause: 'kernel-shape', rule: 'order-matched-equal' },
    );
    expect(step.flip).toBe(step.uncached.token !== step.cached.token);
    expect(step.drift.pair === null).toBe(!step.flip);
  });

  test('the prediction leaves the explained prompt out, and with one prompt the explained step', async () => {
    const of = await subject('mini-mistral', 'fp16', [0, 1, 2]);
    const many = (await explainRun(of, { steps: 12 })).step!.predicted!;
    expect(many).toMatchObject({ from: 'other prompts', prompts: 2, steps: 2 * 11 });
    const one = (await explainRun({ ...of, prompts: of.prompts.slice(0, 1) }, { steps: 12 })).step!.predicted!;
    expect(one).toMatchObject({ from: 'other steps', prompts: 1, steps: 10 });
  });

  test('where order-matched decoding is not known to be exact, nothing is concluded', async () => {
    const of = await subject('mini-mistral', 'fp16', [0]);
    const gates = gatesThatHeld.map((gate) =>
      gate.name === 'null' ? { ...gate, passed: false, status: 'failed' as const } : gate,
    );
    const { verdict } = await explainRun(of, { gates });
    expect(verdict).toMatchObject({ cause: 'not-explained', rule: 'no-null-control' });
    const fault = { kind: 'scale-row', component: 'k', layer: 3, head: 1, row: 9, factor: 1.5 };
    expect((await explainRun(of, { gates, faults: [fault] })).verdict.cause).toBe('state-bug');
  });

  test('a failed harness gate voids everything', async () => {
    const of = await subject('mini-mistral', 'fp16', [0]);
    const gates = gatesThatHeld.map((gate) => ({ ...gate, passed: false, status: 'failed' as const }));
    expect(await explainRun(of, { gates })).toEqual({
      verdict: expect.objectContaining({ cause: 'harness', rule: 'harness-gate' }),
      step: null,
    });
  });

  test('where no bit differs there is nothing to explain', async () => {
    const of = await subject('mini-mistral', 'fp16', [0]);
    const found = await explainRun(of, { decodeRows: 2 });
    expect(found).toEqual({ verdict: expect.objectContaining({ cause: 'equal' }), step: null });
  });
});

test('a fault after the first flip is said, and does not explain it', async () => {
  const of = await subject('mini-mistral', 'fp16', [79]);
  const honest = await explainRun(of, { steps: 60 });
  const at = honest.step!.step + 3;
  const fault = { kind: 'position', step: at, offset: 1 };
  const { verdict, step } = await explainRun(of, { steps: 60, faults: [fault] });
  if (!honest.step!.flip) return;
  expect(verdict.cause).toBe(honest.verdict.cause);
  expect(step!.state).toBeNull();
  expect(step!.later).toMatchObject({ kind: 'wrong position', step: at, offset: 1 });
});

describe('the screen', () => {
  const faults: unknown[][] = [
    [],
    [{ kind: 'scale-row', component: 'k', layer: 3, head: 1, row: 9, factor: 1 + 2 ** -8 }],
    [{ kind: 'stale-row', component: 'both', layer: 0, row: 40, holds: 1 }],
    [{ kind: 'mask', change: 'hide-oldest' }],
    [{ kind: 'store', component: 'both', type: 'bf16' }],
  ];
  test.each(['mini-llama', 'mini-mistral', 'mini-gemma2'])(
    'of %s has at most 24 lines of 80 columns',
    async (model) => {
      const of = await subject(model, 'fp16', [0, 1]);
      for (const each of faults) {
        const text = renderExplanation(await explainRun(of, { faults: each }), {
          ...{ columns: 120, color: false, unicode: true },
        });
        const lines = text.split('\n');
        expect(lines.length, text).toBeLessThanOrEqual(24);
        for (const line of lines) expect([...line].length, line).toBeLessThanOrEqual(80);
        expect(text).toMatch(/^Explanation {3}prompt \d+, step \d+/);
        expect(text).toMatch(/\n {2}rule {8}[a-z-]+\n/);
      }
    },
  );
});
