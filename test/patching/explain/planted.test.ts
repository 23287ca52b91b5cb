/** Planted faults are found in the embedded models: layer, head, row and kind, and called what they are. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedSubject, explainRun, type Subject } from './subject.ts';

const models = ['mini-llama', 'mini-mistral', 'mini-gemma2'] as const;
const precisions = ['fp32', 'fp16', 'bf16'] as const;
/** The prompt has more tokens; windows of mini-gemma2 are 32 wide in even layers. */
const shortest = 45;

describe.each(models)('%s', (model) => {
  describe.each(precisions)('%s', (precision) => {
    let subject: Subject;
    let length = 0;
    beforeAll(async () => {
      subject = await embeddedSubject(model, precision, [0]);
      length = subject.prompts[0].tokens.length;
      expect(length).toBeGreaterThan(shortest);
    });
    afterAll(() => subject.executor.release());

    const explained = async (...faults: unknown[]) => {
      const { verdict, step } = await explainRun(subject, { faults });
      return { cause: verdict.cause, rule: verdict.rule, state: step?.state };
    };

    test('one K row of block 3, head 1, scaled by 1 + 2^-8', async () => {
      const fault = { kind: 'scale-row', component: 'k', layer: 3, head: 1, row: 9, factor: 1 + 2 ** -8 };
      const { state, ...verdict } = await explained(fault);
      expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
      expect(state).toMatchObject({ kind: 'scaled row', component: 'k', layer: 3, heads: [1], row: 9, step: 1 });
      const { value, low, high } = state!.factor!;
      // In bf16 an element takes the next number for many factors; the planted one is among those that give these bits.
      expect(low).toBeLessThanOrEqual(fault.factor);
      expect(high).toBeGreaterThanOrEqual(fault.factor);
      if (precision !== 'bf16') expect(value).toBe(fault.factor);
    });

    test('a row that was never written', async () => {
      const fault = { kind: 'stale-row', component: 'v', layer: 2, row: length + 2 };
      const { state, ...verdict } = await explained(fault);
      expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
      const heads = Array.from({ length: subject.executor.config.kvHeads }, (_, head) => head);
      // Step 3 runs and writes the row, step 4 reads it.
      expect(state).toMatchObject({ kind: 'stale row', component: 'v', layer: 2, row: length + 2, heads, step: 4 });
      expect(state!.detail).toContain('zeros');
      expect(state!.otherRows).toBe(0);
    });

    test('a row that holds an older one, of one head', async () => {
      const fault = { kind: 'stale-row', component: 'k', layer: 1, head: 0, row: 40, holds: 37 };
      const { state, ...verdict } = await explained(fault);
      expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
      expect(state).toMatchObject({ kind: 'stale row', component: 'k', layer: 1, heads: [0], row: 40, holds: 37 });
    });

    test.each([1, -7])('a position that is off by %d in one step', async (offset) => {
      const { state, ...verdict } = await explained({ kind: 'position', step: 5, offset });
      expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
      expect(state).toMatchObject({ kind: 'wrong position', layer: 0, row: length + 4, step: 5, offset });
    });

    test.each([
      ['hide-newest', 4],
      ['hide-oldest', 6],
    ] as const)('a mask that is off by one: %s at step %d', async (change, step) => {
      const { state, ...verdict } = await explained({ kind: 'mask', step, change });
      expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
      const newest = length + step - 1;
      const window = subject.executor.config.slidingWindows[0];
      const oldest = window === null ? 0 : newest + 1 - window;
      expect(state).toMatchObject({
        ...{ kind: 'wrong mask', layer: 0, row: newest, step },
        ...{ hidden: [change === 'hide-newest' ? newest : oldest], shown: [] },
      });
    });

    if (model === 'mini-gemma2') {
      test('a mask that shows the key before the window, in the sliding layers', async () => {
        const { state, ...verdict } = await explained({ kind: 'mask', step: 2, change: 'show-older' });
        expect(verdict).toEqual({ cause: 'state-bug', rule: 'step-replayed' });
        expect(state).toMatchObject({ kind: 'wrong mask', step: 2, hidden: [], shown: [length + 1 - 32] });
        expect(state!.detail).toContain('block 0, 2, 4');
      });

      test('a stale row that has left the window is no difference', async () => {
        const { cause, state } = await explained({ kind: 'stale-row', component: 'both', layer: 2, row: 5 });
        expect(cause).not.toBe('state-bug');
        expect(state).toBeFalsy();
      });
    }

    test.runIf(precision !== 'bf16')('a cache that stores bf16 is storage, not a bug of one row', async () => {
      const { state, ...verdict } = await explained({ kind: 'store', component: 'both', type: 'bf16' });
      expect(verdict).toEqual({ cause: 'storage', rule: 'rows-narrowed' });
      expect(state).toMatchObject({ kind: 'narrower store', type: 'bf16', step: 1 });
    });

    test('no fault is no state bug', async () => {
      const { verdict, step } = await explainRun(subject, {});
      expect(['kernel-shape', 'equal', 'benign-tie']).toContain(verdict.cause);
      expect(step?.state ?? null).toBeNull();
      expect(step?.orderMatched.exact ?? true).toBe(true);
    });
  });
});
