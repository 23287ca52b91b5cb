/** The screen of an explanation: 24 lines of 80 columns whatever there is to say, tokens as they are, the verdict kept. */
import { expect, test } from 'vitest';
import type { ExplainedStep, Explanation } from '../../src/patching/explain/index.ts';
import { renderExplanation } from '../../src/report/terminal/index.ts';

const options = { columns: 200, color: false, unicode: true };
const origin = {
  ...{ prompt: 'p', promptIndex: 12, step: 3, hook: 'blocks.11.attn.hook_attn_scores', layer: 11, head: 13 },
  ...{ operation: 'q kᵀ, block 11', nDiffer: 12_345, nElements: 9_876_543, maxUlp: 1, readsCache: true },
};
const arm = (token: number, logits: number[]) => ({
  ...{ token, text: `Ġtoken${token}`, margin: logits[0] - logits[1], tie: logits[0] === logits[1] },
  top: logits.map((logit, i) => ({ token: token + i, text: `Ġtoken${token + i}`, logit })),
});
const state: NonNullable<ExplainedStep['state']> = {
  ...{ kind: 'stale row', step: 71, hook: 'blocks.11.attn.hook_cache_k', layer: 11, heads: [0, 1, 2, 3, 4, 5, 6, 7] },
  ...{ row: 1234, component: 'k', detail: 'it holds the row written at position 1233', otherRows: 1999 },
};
const step: ExplainedStep = {
  ...{ prompt: 'p', promptIndex: 12, step: 140, position: 1999, flip: true },
  context: Array.from({ length: 24 }, (_, i) => ({ token: i, text: i === 5 ? '\u001b[2J' : `Ġword${i}Ċ` })),
  ...{ uncached: arm(5, [12.5, 12.25, 3, 2, 1]), cached: arm(6, [12.5, 12.5, 3, 2, 1]) },
  drift: { l2: 0.5, maxAbs: 0.25, pair: -0.25 },
  predicted: { sigma: 1e-3, largest: 0.4, steps: 123_456, prompts: 999, from: 'other prompts', inside: true },
  ...{ firstOrigin: origin, stepOrigin: { ...origin, step: 140, hook: 'blocks.0.attn.hook_cache_k' } },
  cells: (['cached', 'recomputed'] as const).flatMap((history) =>
    (['decode', 'prefill'] as const).map((kernel) => ({
      ...{ history, kernel, l2: 0.5, exact: history === 'recomputed', token: 5, text: 'Ġtoken5' },
    })),
  ),
  orderMatched: { exact: false, differ: 5, elements: 1_234_567, first: origin },
  ...{ state, later: { ...state, step: 170 } },
  reproduction: {
    folder: null,
    what: 'blocks.11.attn.hook_attn_scores takes 300 MiB with its weights, at most 64 are written',
  },
};
const verdict: Explanation['verdict'] = {
  ...{ cause: 'state-bug', rule: 'step-replayed' },
  sentence: 'a sentence of many words that goes on and on, over several lines of the screen, '.repeat(4).trim(),
};

test.each([
  ['everything there is', step],
  ['without a tokenizer', { ...step, context: step.context.map(({ token }) => ({ token, text: null })) }],
  ['little', { ...step, predicted: null, firstOrigin: null, stepOrigin: null, state: null, later: null }],
])('%s fits', (_, shown) => {
  for (const columns of [60, 80, 200]) {
    const lines = renderExplanation({ verdict, step: shown }, { ...options, columns }).split('\n');
    expect(lines.length).toBeLessThanOrEqual(24);
    for (const line of lines) expect([...line].length, line).toBeLessThanOrEqual(80);
    const text = lines.join('\n');
    expect(text).toContain('✗ STATE BUG  a sentence');
    expect(text).toContain('step-replayed');
    expect(text).not.toContain('\u001b');
    expect(text).toContain('recomputed  prefill');
  }
});

test('what is left out first is the blank line, then the origin of the step', () => {
  const short = { ...verdict, sentence: 'short' };
  const text = (sentence: string, of: ExplainedStep) =>
    renderExplanation({ verdict: { ...short, sentence }, step: of }, options);
  const little = { ...step, later: null };
  expect(text('short', little)).toContain('reads a history that differs, block 11, head 13');
  expect(text('short', little)).toContain('␣token5');
  const long = text('word '.repeat(120), little);
  expect(long).not.toContain('reads a history');
  expect(long).toContain('step 3, q kᵀ, block 11, head 13');
});

test('without a step there is a verdict and its rule', () => {
  expect(
    renderExplanation(
      { verdict: { cause: 'equal', rule: 'nothing-differs', sentence: 'nothing' }, step: null },
      options,
    ),
  ).toBe('Explanation\n= EQUAL  nothing\n  rule        nothing-differs');
});
