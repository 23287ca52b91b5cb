/** The order of the rules: each on facts that would satisfy every later one too. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../src/checkpoint/embedded.ts';
import type { ExplainedStep, StateFault } from '../../../src/patching/explain/index.ts';
import { type Facts, judge, rules, stateWords } from '../../../src/patching/explain/rules.ts';
import { gatesThatHeld } from './subject.ts';

const model = { layers: 2, modelType: 'llama' } as const;
const arm = {
  ...{ token: 1, text: null, margin: 0.1, tie: false },
  top: [
    { token: 1, text: null, logit: 5.1 },
    { token: 2, text: null, logit: 5 },
  ],
};
const other = {
  ...arm,
  token: 2,
  top: arm.top.toReversed().map((each) => ({ ...each, logit: each.logit + each.token })),
};
const tied = { ...other, tie: true, margin: 0, top: other.top.map((each) => ({ ...each, logit: 5 })) };
const origin = {
  ...{ prompt: 'p', promptIndex: 0, step: 3, hook: 'blocks.0.attn.hook_attn_scores', operation: 'q kᵀ, block 0' },
  ...{ layer: 0, head: 1, nDiffer: 1, nElements: 9, maxUlp: 1, readsCache: true },
};
const state: StateFault = {
  ...{ kind: 'scaled row', step: 2, hook: 'blocks.1.attn.hook_cache_k', layer: 1, heads: [1], row: 4 },
  ...{ component: 'k', detail: 'every element is the one written × 2', otherRows: 0 },
};
const plain: Omit<ExplainedStep, 'reproduction'> = {
  ...{ prompt: 'p', promptIndex: 0, step: 3, position: 9, flip: true, context: [] },
  ...{ uncached: arm, cached: tied },
  ...{ drift: { l2: 1, maxAbs: 1, pair: 1 }, predicted: null, firstOrigin: origin, stepOrigin: origin, cells: [] },
  ...{ orderMatched: { exact: true, differ: 0, elements: 9, first: null }, state: null, later: null },
};
const facts = (step: Partial<typeof plain> = {}, other: Partial<Facts> = {}): Facts => ({
  ...{ gates: gatesThatHeld, step: { ...plain, ...step }, model, otherDecodeKernel: false },
  ...other,
});
const without = (...names: string[]) =>
  gatesThatHeld.map((gate) =>
    names.includes(gate.name) ? { ...gate, passed: false, status: 'failed' as const } : gate,
  );
const matchedDiffers = { orderMatched: { exact: false, differ: 2, elements: 9, first: origin } };

test.each([
  ['harness-gate', facts({ state, ...matchedDiffers }, { gates: without('repeat', 'null') })],
  [
    'rows-narrowed',
    facts({ state: { ...state, kind: 'narrower store', type: 'bf16' }, ...matchedDiffers }, { gates: without('null') }),
  ],
  ['step-replayed', facts({ state, ...matchedDiffers }, { gates: without('null') })],
  ['no-null-control', facts(matchedDiffers, { gates: without('null') })],
  ['no-null-control', facts(matchedDiffers, { gates: without('prefix') })],
  ['no-null-control', facts(matchedDiffers, { gates: [] })],
  ['order-matched-differs', facts(matchedDiffers)],
  ['exact-tie', facts()],
  ['order-matched-equal', facts({ cached: other })],
  ['order-matched-equal', facts({ flip: false })],
  // A draw: the tie is between other tokens than the chosen ones.
  ['order-matched-equal', facts({ cached: { ...tied, token: 7 } })],
  ['no-rule', facts({ flip: false, firstOrigin: null, stepOrigin: null })],
  ['nothing-differs', facts({}, { step: null })],
])('%s', (rule, given) => {
  expect(judge(given).rule).toBe(rule);
});

test('every rule has an id of its own, and gives one sentence', () => {
  expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length);
  expect(judge(facts({ state })).sentence).toBe(
    'scaled row, K row 4 of block 1, head 1, read at step 2: every element is the one written × 2. Not rounding: the same kernels from the same inputs give other bits',
  );
});

test('docs/explain.md lists the rules in their order, with their verdicts', () => {
  const text = readFileSync(join(packageRoot(), 'docs', 'explain.md'), 'utf8');
  const listed = [...text.matchAll(/^\| `([\w-]+)` \| ([\w ]+) \|/gm)].map(([, id, cause]) => [
    id,
    cause.replaceAll(' ', '-'),
  ]);
  expect(listed).toEqual(rules.map(({ id, cause }) => [id, cause]));
});

test('a flip whose margin no other step would have made is suspect, and stays with its rule', () => {
  const predicted = { sigma: 1e-3, largest: 1e-2, steps: 9, prompts: 1, from: 'other prompts', inside: false } as const;
  const { rule, sentence } = judge(facts({ cached: other, predicted }));
  expect(rule).toBe('order-matched-equal');
  expect(sentence).toContain('Suspect');
  expect(judge(facts({ cached: other, predicted: { ...predicted, inside: true } })).sentence).not.toContain('Suspect');
  expect(judge(facts({ flip: false, predicted })).sentence).not.toContain('Suspect');
});

test.each([
  ['blocks.0.attn.hook_z', 'an attention product'],
  ['blocks.0.hook_mlp_out', 'a product with weights'],
  ['unembed.hook_out', 'a product with weights'],
  ['blocks.1.attn.hook_pattern', 'a softmax'],
  ['ln_final.hook_scale', 'the mean of a norm'],
  ['blocks.1.hook_resid_mid', 'an elementwise operation'],
])('%s is %s', (hook, words) => {
  expect(judge(facts({ cached: other, firstOrigin: { ...origin, hook } })).sentence).toMatch(new RegExp(`^${words}`));
});

test('what a state fault is said to be', () => {
  expect(
    stateWords({ ...state, component: null, heads: [], row: 9, kind: 'wrong position', otherRows: 0, detail: 'd' }),
  ).toBe('wrong position, position 9, read at step 2: d');
  expect(stateWords({ ...state, heads: [0, 1], otherRows: 3 })).toContain('heads 0, 1, read at step 2');
});
