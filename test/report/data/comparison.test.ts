/** Counts and means of the arms, per condition, checked against rows that were written down by hand. */
import { expect, test } from 'vitest';
import { type Comparison, comparisons } from '../../../src/report/data/comparison.ts';
import { conditionRow, present, stepRow } from '../run-fixture.ts';
import { type GivenRow, tablesOfRows } from '../tables-of-rows.ts';

const compare = async (steps: readonly GivenRow[], conditions = ['c']): Promise<Comparison[]> =>
  present(
    await comparisons(tablesOfRows({ conditions: conditions.map((condition) => conditionRow(condition)), steps })),
  );
const free = (...args: Parameters<typeof stepRow>) => ({ ...stepRow(...args), protocol: 'free-running' });

test('steps, logits, bits, flips, ties, means and the widest flip are those of the forced decode steps', async () => {
  const [found] = await compare([
    // The prefill's step counts nowhere, whatever is in it.
    stepRow('c', 'p', 0, { flip: true, differs: true, logits_n_differ: 9, logits_l2_centred: 99, margin_uncached: 50 }),
    stepRow('c', 'p', 1, { differs: true, logits_n_differ: 3, logits_l2_centred: 0.25, kl: 0.5 }),
    stepRow('c', 'p', 2, { differs: true }),
    stepRow('c', 'p', 3, { flip: true, differs: true, logits_n_differ: 1, tie_uncached: true, margin_uncached: 0 }),
    stepRow('c', 'q', 1, { flip: true, differs: true, logits_n_differ: 1, margin_uncached: 0.125 }),
    stepRow('c', 'q', 2, { flip: true, differs: true, logits_n_differ: 1, tie_cached: true, margin_uncached: 0.0625 }),
    stepRow('c', 'q', 3, { logits_l2_centred: 0.5, kl: 0.25 }),
    // A tie without a flip is none that is counted.
    stepRow('c', 'q', 4, { tie_cached: true, tie_uncached: true, margin_uncached: 7 }),
    stepRow('c', 'q', 5),
  ]);
  expect(found).toMatchObject({ steps: 8, prompts: 2, differing: 5, logits: 4, flips: 3, ties: 2, widestFlip: 0.125 });
  expect(found).toMatchObject({ l2: 0.75 / 8, kl: 0.75 / 8, errors: null });
});

test('errors to the oracle are means over the steps that have them, never over the others', async () => {
  const [found] = await compare([
    stepRow('c', 'p', 1, { error_cached: 1, error_uncached: 4 }),
    stepRow('c', 'p', 2, { error_cached: 2, error_uncached: 8 }),
    stepRow('c', 'p', 3),
    stepRow('c', 'p', 4, { error_cached: 100 }),
  ]);
  expect(found.errors).toEqual({ cached: 1.5, uncached: 6 });
});

test('no compared hook is not the same as no difference', async () => {
  const [[none], [equal]] = [
    await compare([stepRow('c', 'p', 1, { differs: null, logits_n_differ: 2 })]),
    await compare([stepRow('c', 'p', 1)]),
  ];
  expect(none).toMatchObject({ compared: 0, differing: 0, logits: 1 });
  expect(equal).toMatchObject({ differing: 0, logits: 0 });
});

test('texts are those the arms wrote; of a prompt that wrote none the forced tokens', async () => {
  const [found] = await compare([
    // Forced flips of a prompt that also ran free say nothing of its text.
    ...[stepRow('c', 'both', 1, { flip: true }), free('c', 'both', 1)],
    ...[stepRow('c', 'also', 1, { flip: true }), free('c', 'also', 1)],
    ...[stepRow('c', 'parts', 1), free('c', 'parts', 1, { flip: true }), free('c', 'parts', 2, { flip: null })],
    ...[stepRow('c', 'forced', 1), stepRow('c', 'forced', 2, { flip: true }), stepRow('c', 'equal', 1)],
  ]);
  expect(found).toMatchObject({ texts: 5, parted: 2, flips: 3, steps: 6 });
});

test('a study that keeps free-running rows of parted texts alone counts the others too', async () => {
  const [found] = await compare([
    ...['a', 'b', 'd'].map((prompt) => stepRow('c', prompt, 1)),
    stepRow('c', 'parted', 1, { flip: true }),
    ...[free('c', 'parted', 0), free('c', 'parted', 1, { flip: true })],
  ]);
  expect(found).toMatchObject({ texts: 4, parted: 1, prompts: 4 });
});

test('a text that parts at its first token has parted', async () => {
  const [found] = await compare([free('c', 'p', 0, { flip: true })]);
  expect(found).toMatchObject({ texts: 1, parted: 1, steps: 0, l2: null, kl: null });
});

test('NaN stays NaN in a mean and in a margin, and leaves the other condition alone', async () => {
  const [odd, plain] = await compare(
    [
      stepRow('odd', 'p', 1, { kl: Number.NaN, flip: true, margin_uncached: Number.NaN }),
      stepRow('odd', 'p', 2, { logits_l2_centred: Infinity, error_cached: Number.NaN, error_uncached: 1 }),
      stepRow('plain', 'p', 1, { kl: 0.5 }),
    ],
    ['odd', 'plain'],
  );
  expect(odd).toMatchObject({ kl: Number.NaN, l2: Infinity, widestFlip: Number.NaN });
  expect(odd.errors).toEqual({ cached: Number.NaN, uncached: 1 });
  expect(plain).toMatchObject({ kl: 0.5, l2: 0, widestFlip: null });
});

test('conditions come in the order of the run, one without a row with nothing in it; unknown rows are passed over', async () => {
  const found = await compare(
    [stepRow('b', 'p', 1), stepRow('stray', 'p', 1), { ...stepRow('b', 'p', 2), protocol: 'another' }],
    ['a', 'b'],
  );
  expect(found.map(({ condition, steps, texts }) => [condition.condition, steps, texts])).toEqual([
    ['a', 0, 0],
    ['b', 1, 1],
  ]);
  expect(found[0]).toMatchObject({ l2: null, kl: null, compared: 0, widestFlip: null, errors: null, parted: 0 });
});

test('without a table it says which, and what makes it', async () => {
  expect(await comparisons(tablesOfRows({ steps: [] }))).toMatchObject({ missing: 'No conditions.arrow.' });
  expect(await comparisons(tablesOfRows({ conditions: [conditionRow('c')] }))).toEqual({
    missing: 'No steps.arrow.',
    command: 'kvlens diverge MODEL --out FOLDER',
  });
});
