/** What a page says first: head, sentences and cards of made-up findings, word by word where a number is in them. */
import { describe, expect, test } from 'vitest';
import type { Comparison } from '../../../src/report/data/comparison.ts';
import { firstOperationData } from '../../../src/report/data/first-operation.ts';
import type { RunGate } from '../../../src/report/data/gates.ts';
import { twoByTwoData } from '../../../src/report/data/two-by-two.ts';
import { type Answer, answerOf } from '../../../src/report/page/answer.ts';
import type { Findings } from '../../../src/report/page/cards.ts';
import { conditionRow, patchRow, present } from '../run-fixture.ts';
import { mapRows, tablesOfRows } from '../tables-of-rows.ts';

const condition = {
  ...{ condition: 'c', model: 'mini', precision: 'fp16', kernels: 'ort', strategy: 'greedy' },
  ...{ padding: 0, coupling: 'keyed' },
};
const compared = (changes: Partial<Comparison> = {}): Comparison => ({
  ...{
    condition,
    compared: changes.steps ?? 1452,
    steps: 1452,
    prompts: 40,
    differing: 0,
    logits: 0,
    flips: 0,
    ties: 0,
    widestFlip: null,
  },
  ...{ l2: 0, kl: 0, texts: 40, parted: 0, errors: null, ...changes },
});
const gate = (name: string, changes: Partial<RunGate> = {}): RunGate => ({
  ...{ name, class: 'identification', passed: true, status: 'passed' },
  ...{ measured: '0 of 90 elements differ', required: '0 elements differ', scope: '' },
  ...changes,
});
const broken = (name: string, changes: Partial<RunGate> = {}) =>
  gate(name, { class: 'harness', passed: false, status: 'failed', measured: '3 differ', ...changes });
const findings = (changes: Partial<Findings> = {}): Findings => ({
  ...{ kind: 'diverge', setting: '', comparisons: [compared()], gates: [gate('null')], planted: 0 },
  ...{ first: null, twoByTwo: null },
  ...changes,
});
const answer = (changes: Partial<Findings> = {}): Answer => answerOf(findings(changes));
const of = (changes: Partial<Comparison>, more: Partial<Findings> = {}) =>
  answer({ comparisons: [compared(changes)], ...more });

/** What a reader sees. */
const seen = (markup: unknown) =>
  String(markup)
    .replaceAll('<br>', ' | ')
    .replaceAll(/<\/?\w+>/g, '')
    .replaceAll(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
const card = ({ cards }: Answer, question: string) => {
  const found = cards.find((each) => each.question === question);
  if (!found) throw new Error(`no card ${question}`);
  return `${found.answer}: ${seen(found.evidence)}`;
};
const questions = ['Same bits?', 'Same tokens?', 'Where does it start?', 'What carries it?', 'Is either arm right?'];

describe('the head', () => {
  test.each<[Answer['verdict'], Partial<Comparison>, string]>([
    ['yes', {}, 'Yes. With the cache not one bit differs, in 1,452 steps.'],
    ['almost', { differing: 740, logits: 61 }, 'Almost. Bits differ in 740 of 1,452 steps, and no token changes.'],
    ['almost', { compared: 0, logits: 61 }, 'Almost. Logits differ in 61 of 1,452 steps, and no token changes.'],
    [
      'almost',
      { compared: 9, differing: 8, logits: 61 },
      'Almost. Logits differ in 61 of 1,452 steps, and no token changes.',
    ],
    [
      'almost',
      { compared: 9, differing: 8 },
      'Almost. Bits differ in 8 of the 9 steps compared at every hook, and no token changes.',
    ],
    [
      'yes',
      { compared: 9 },
      'Yes. With the cache no logit differs, in 1,452 steps, nor any bit in the 9 compared at every hook.',
    ],
    ['yes', { compared: 0 }, 'Yes. With the cache no logit differs, in 1,452 steps.'],
    ['no', { differing: 9, logits: 9, flips: 3, parted: 2 }, 'No. With the cache 2 of 40 texts come out different.'],
    ['no', { differing: 9, logits: 9, flips: 3 }, 'No. With the cache 3 of 1,452 steps pick another token.'],
    ['no', { parted: 1, texts: 1 }, 'No. With the cache 1 of 1 text comes out different.'],
    ['no', { flips: 1 }, 'No. With the cache 1 of 1,452 steps picks another token.'],
    [
      null,
      { steps: 0, texts: 0 },
      'Not measured. This run compares nothing: it does not say whether the arms decode alike.',
    ],
  ])('%s', (verdict, changes, head) => {
    expect(of(changes)).toMatchObject({ verdict, head });
  });

  test('no comparison at all is not measured, and no card claims anything', () => {
    const found = answer({ comparisons: [], gates: [] });
    expect(found.verdict).toBeNull();
    expect(found.cards).toEqual([]);
    expect(seen(found.lede)).toContain('kvlens diverge');
  });

  test('names the setting where there are several, and a planted fault', () => {
    expect(answer({ setting: 'fp16 · ort' }).head).toBe(
      'Yes. With the cache not one bit differs under fp16 · ort, in 1,452 steps.',
    );
    expect(of({ differing: 1 }, { planted: 1, setting: 's' }).head).toBe(
      'Almost. Bits differ in 1 of 1,452 steps under s, and no token changes. A fault was planted in the cached arm.',
    );
    expect(answer({ planted: 3 }).head).toMatch(/\. 3 faults were planted in the cached arm\.$/);
  });

  test('pools the conditions of a setting', () => {
    const two = answer({ comparisons: [compared({ differing: 2, logits: 1 }), compared({ steps: 48, differing: 3 })] });
    expect(two.head).toBe('Almost. Bits differ in 5 of 1,500 steps, and no token changes.');
    // One condition without compared hooks: bits are of the steps that were compared, logits of all.
    const mixed = answer({ comparisons: [compared({ differing: 9, logits: 1 }), compared({ compared: 0 })] });
    expect(mixed.head).toBe('Almost. Logits differ in 1 of 2,904 steps, and no token changes.');
    expect(card(mixed, 'Same bits?')).toContain(
      '9 / 1,452 steps compared at every hook differ | 1 / 2,904 differ in a logit',
    );
    expect(seen(mixed.lede)).toMatch(
      /^9 of the 1,452 steps compared at every hook differ in some bit; 1 of 2,904 steps differ in some logit; none/,
    );
  });
});

describe('not valid', () => {
  test('a failed gate of the harness takes the place of the answer', () => {
    const found = of({ flips: 9, parted: 9 }, { gates: [gate('null'), broken('canary')] });
    expect(found).toMatchObject({
      verdict: 'not-valid',
      head: 'Not valid. Gate canary failed: no number below is evidence.',
      cards: [],
    });
    expect(seen(found.lede)).toMatch(/^measured 3 differ; required 0 elements differ\. /);
  });

  test('several are named once each, and the first is quoted', () => {
    const { head, lede } = answer({ gates: [broken('canary', { measured: 'x' }), broken('no-op'), broken('canary')] });
    expect(head).toBe('Not valid. Gates canary, no-op failed: no number below is evidence.');
    expect(seen(lede)).toMatch(/^The first: measured x; /);
  });

  test('a failed gate of identification, or one that did not run, is not a failed harness', () => {
    expect(answer({ gates: [broken('null', { class: 'identification' })] }).verdict).toBe('yes');
    expect(answer({ gates: [gate('full-patch', { class: 'harness', status: 'not-applicable' })] }).verdict).toBe('yes');
  });

  describe('in a study', () => {
    const group = 'mini/fp16/ort';
    const other = { ...condition, condition: 'd', model: 'big' };

    test('a group voids its conditions, though they have rows', () => {
      const found = of({ flips: 9, parted: 9 }, { gates: [broken('canary', { group })] });
      expect(found).toMatchObject({ verdict: 'not-valid', cards: [] });
    });

    test('what is left counts, and it is said that something is left out', () => {
      const comparisons = [compared({ parted: 9, flips: 9 }), compared({ condition: other, differing: 1, steps: 10 })];
      const found = answer({ comparisons, gates: [broken('canary', { group })] });
      expect(found.head).toBe('Almost. Bits differ in 1 of 10 steps, and no token changes.');
      expect(seen(found.lede)).toContain('1 of 2 conditions is left out: a gate of the harness failed.');
    });

    test('a group of another setting changes nothing', () => {
      const found = answer({ gates: [broken('canary', { group: 'mini/bf16/ort' })] });
      expect(found.verdict).toBe('yes');
      expect(seen(found.lede)).not.toContain('left out');
    });

    test('of groups that failed those of the answer are named', () => {
      const gates = [broken('repeat', { group: 'mini/bf16/ort' }), broken('canary', { group, measured: 'own' })];
      const found = answer({ gates });
      expect(found.head).toContain('Gate canary failed');
      expect(seen(found.lede)).toMatch(/^measured own;/);
    });
  });
});

describe('the sentences', () => {
  test('of differences, flips and the control, which says what was measured', () => {
    const { lede } = of({ differing: 740, logits: 61, flips: 11, ties: 2, widestFlip: 0.0312, parted: 5 });
    expect(seen(lede)).toBe(
      '740 of 1,452 steps differ in some bit; 11 pick another token, 2 on an exact tie, the widest at a margin of 0.031. Computed with the uncached arm’s kernels and more than one row, cache in use, the difference is gone: 0 of 90 elements differ (gate null).',
    );
  });

  test.each<[Partial<Comparison>, string]>([
    [{ differing: 5 }, '5 of 1,452 steps differ in some bit; none picks another token.'],
    [{ compared: 0, logits: 5 }, '5 of 1,452 steps differ in some logit; none picks another token.'],
    [
      { differing: 1452, flips: 1, widestFlip: 2 },
      'Every step differs in some bit; 1 picks another token, the widest at a margin of 2.0.',
    ],
    [
      { differing: 9, flips: 1, ties: 1, widestFlip: 0 },
      '9 of 1,452 steps differ in some bit; 1 picks another token, on an exact tie.',
    ],
    [
      { differing: 9, flips: 2, ties: 2, widestFlip: 0 },
      '9 of 1,452 steps differ in some bit; 2 pick another token, all on an exact tie.',
    ],
    [{}, 'Every compared element of every step is equal, and so are all logits.'],
  ])('%j', (changes, sentence) => {
    expect(seen(of(changes, { gates: [] }).lede)).toBe(sentence);
  });

  test('the control is quoted where it held in every group, and nothing was planted', () => {
    const of = (gates: RunGate[], planted = 0) => seen(answer({ gates, planted }).lede);
    expect(of([gate('null'), gate('null', { measured: 'z' })])).toContain(
      'the same holds: 0 of 90 elements differ (gate null, first of 2 groups).',
    );
    expect(of([gate('null'), gate('null', { status: 'failed', passed: false })])).not.toContain('Computed');
    expect(of([gate('null', { status: 'not-applicable' })])).not.toContain('Computed');
    expect(of([gate('null')], 1)).not.toContain('Computed');
    expect(of([gate('repeat')])).not.toContain('Computed');
  });

  test('a kernel that is built in the graph is named', () => {
    const split = { ...condition, kernels: 'split-k:8:storage' };
    expect(seen(of({ condition: split }).lede)).toMatch(
      / split-k:8:storage is a kernel built in the graph, on a CPU\.$/,
    );
    expect(seen(answer().lede)).not.toContain('CPU');
    const both = answer({
      comparisons: [compared({ condition: split }), compared({ condition: { ...condition, kernels: 'x' } })],
    });
    expect(seen(both.lede)).toContain('split-k:8:storage, x are kernels built');
  });
});

describe('the cards', () => {
  test('are the five questions in their order, each with its figure', () => {
    const { cards } = answer();
    expect(cards.map(({ question }) => question)).toEqual(questions);
    expect(cards.map(({ figure }) => figure)).toEqual([
      'drift-map',
      'survival',
      'first-operation',
      'two-by-two',
      'oracle',
    ]);
  });

  test.each<[Partial<Comparison>, string]>([
    [{}, 'Yes, always: 0 / 1,452 steps differ | mean L2 of logits 0; KL 0'],
    [
      { differing: 1452, l2: 1.5, kl: 2e-5 },
      'No, never: 1,452 / 1,452 steps differ | mean L2 of logits 1.5; KL 2.0e-5',
    ],
    [{ differing: 740 }, 'Not in 51 %: 740 / 1,452 steps differ | mean L2 of logits 0; KL 0'],
    [{ differing: 1, l2: Number.NaN }, 'Not in < 1 %: 1 / 1,452 steps differ | mean L2 of logits NaN; KL 0'],
    [{ compared: 0, logits: 7 }, 'Not in < 1 %: 7 / 1,452 differ in a logit | mean L2 of logits 0; KL 0'],
    [
      { compared: 4, logits: 7 },
      'Not the logits: 0 / 4 steps compared at every hook differ | 7 / 1,452 differ in a logit | mean L2 of logits 0; KL 0',
    ],
    [{ steps: 0 }, 'Not measured: no step of given tokens'],
  ])('same bits: %j', (changes, said) => {
    expect(card(of(changes), 'Same bits?')).toBe(said);
  });

  test('means are weighted by the steps they are of', () => {
    const comparisons = [
      compared({ steps: 30, l2: 1, kl: 4, errors: { cached: 1, uncached: 2 } }),
      compared({ steps: 10, l2: 5, kl: 0, errors: { cached: 3, uncached: 6 } }),
    ];
    const found = answer({ comparisons });
    expect(card(found, 'Same bits?')).toContain('mean L2 of logits 2.0; KL 3.0');
    expect(card(found, 'Is either arm right?')).toContain('cached 1.5, uncached 3.0 (×0.50)');
  });

  test.each<[Partial<Comparison>, string]>([
    [{}, 'Yes: texts 0/40 [0–9 %] | 0 / 1,452 steps, < 0.21 % (3/n)'],
    [
      { parted: 10, flips: 11 },
      '10 of 40 texts not: texts 10/40 25 % [14–40 %] | 11 / 1,452 steps, 0.76 % [0.42–1.35 %]',
    ],
    [{ flips: 1 }, 'Not all: texts 0/40 [0–9 %] | 1 / 1,452 steps, 0.07 % [0.01–0.39 %]'],
    [{ steps: 0 }, 'Yes: texts 0/40 [0–9 %]'],
    [{ texts: 0 }, 'Yes: no text | 0 / 1,452 steps, < 0.21 % (3/n)'],
  ])('same tokens: %j', (changes, said) => {
    expect(card(of(changes), 'Same tokens?')).toBe(said);
  });

  describe('where it starts', () => {
    const start = async (rows: number[][]) => {
      const hooks = ['attn.hook_q', 'attn.hook_attn_scores', 'hook_resid_post'].map((name, i) => ({
        hook: `blocks.2.${name}`,
        kind: name.replace('hook_', ''),
        layer: 2,
        rel: rows[i],
      }));
      const [first] = present(await firstOperationData(tablesOfRows(mapRows(hooks))));
      return card(answer({ first }), 'Where does it start?');
    };

    test('the first operation of the first step that differs, and what was captured before it', async () => {
      expect(
        await start([
          [0, 0, 1],
          [0, 1, 1],
          [0, 1, 1],
        ]),
      ).toMatch(
        /^L2 [^:]+: blocks\.2\.attn\.hook_attn_scores, prompt 3, step 2: 1 of 10 elements; the 1 operation captured before it is equal$/,
      );
      expect(
        await start([
          [0, 0, 0],
          [0, 0, 0],
          [0, 0, 1],
        ]),
      ).toMatch(/step 3: .*; the 2 operations captured before it are equal$/);
    });

    test('is not known where nothing before it was captured', async () => {
      expect(
        await start([
          [1, 0],
          [1, 0],
          [1, 0],
        ]),
      ).toMatch(/^L2 .* or before: .*; nothing before it is captured$/);
    });

    test('is nowhere where nothing differs', async () => {
      expect(
        await start([
          [0, 0],
          [0, 0],
          [0, 0],
        ]),
      ).toBe('Nowhere: 3 hooks, 2 steps: all equal');
    });

    test('is not known without layers', () => {
      expect(card(answer(), 'Where does it start?')).toBe('Not captured: layers.arrow has no rows');
    });
  });

  describe('what carries it', () => {
    type Distances = [both: number, history: number, kernel: number, neither: number];
    const carries = async (distances: Distances, others: Distances = distances) => {
      const cells = [
        ['cached', 'decode'],
        ['cached', 'prefill'],
        ['recomputed', 'decode'],
        ['recomputed', 'prefill'],
      ] as const;
      const base = distances[0];
      const patches = cells.flatMap(([history, kernel], i) =>
        ['p', 'q'].map((prompt) =>
          patchRow('c', prompt, history, kernel, { base, patched: (prompt === 'p' ? distances : others)[i] }),
        ),
      );
      const twoByTwo = present(await twoByTwoData(tablesOfRows({ conditions: [conditionRow('c')], patches })));
      return card(answer({ twoByTwo }), 'What carries it?');
    };

    test.each<[string, [number, number, number, number], string]>([
      [
        'the history, where recomputing it alone removes half or more',
        [4, 3, 1.9, 0],
        'The history: recomputed history removes 0.53, the prefill kernel 0.25; | both replaced: exactly 0 (2 / 2)',
      ],
      [
        'the kernel',
        [4, 1.9, 3, 0],
        'The kernel: recomputed history removes 0.25, the prefill kernel 0.53; | both replaced: exactly 0 (2 / 2)',
      ],
      [
        'each by itself',
        [4, 3, 5, 0],
        'Either suffices: recomputed history removes −0.25, the prefill kernel 0.25; | both replaced: exactly 0 (2 / 2)',
      ],
      [
        'neither by itself',
        [4, 1, 1, 0],
        'Both, together: recomputed history removes 0.75, the prefill kernel 0.75; | both replaced: exactly 0 (2 / 2)',
      ],
      ['something beside them', [4, 4, 0, 0.5], 'Not identified: with both replaced a difference is left'],
      ['nothing', [0, 0, 0, 0], 'Nothing to carry: logits equal in 2 / 2 patched steps'],
      ['what is no number', [4, Number.NaN, 1, 0], 'Not a number: distances are NaN or infinite'],
    ])('%s', async (_, distances, said) => {
      expect(await carries(distances)).toBe(said);
    });

    test('is not settled where an interval holds a half', async () => {
      expect(await carries([4, 3, 0, 0], [4, 3, 4, 0])).toMatch(/^Not settled: recomputed history removes 0\.50 \[/);
    });

    test('is not measured without a 2×2; the control is evidence, and the command that tells more is named', () => {
      expect(card(answer(), 'What carries it?')).toBe(
        'Not measured: in the uncached arm’s order 0 of 90 elements differ; history or kernel: kvlens patch MODEL two-by-two',
      );
      for (const changes of [{ gates: [] }, { planted: 1 }, { gates: [broken('null', { class: 'identification' })] }])
        expect(card(answer(changes), 'What carries it?')).toBe('Not measured: kvlens patch MODEL two-by-two');
    });
  });

  test.each<[Comparison['errors'], string]>([
    [null, 'Not measured: no float64 oracle in this run'],
    [{ cached: 0.3, uncached: 0.2 }, 'Neither: error to float64: cached 0.30, uncached 0.20 (×1.50)'],
    [{ cached: 0, uncached: 0 }, 'Both, exactly: error to float64: cached 0, uncached 0'],
    [{ cached: 0, uncached: 0.2 }, 'The cached arm: error to float64: cached 0, uncached 0.20'],
    [{ cached: 0.2, uncached: 0 }, 'The uncached arm: error to float64: cached 0.20, uncached 0'],
  ])('is either arm right: %j', (errors, said) => {
    expect(card(of({ errors }), 'Is either arm right?')).toBe(said);
  });

  test('an oracle that some conditions lack is none', () => {
    const comparisons = [compared({ errors: { cached: 1, uncached: 1 } }), compared()];
    expect(card(answer({ comparisons }), 'Is either arm right?')).toContain('Not measured');
  });
});

test('no sentence judges, and none writes 0 of what is not exactly 0', () => {
  const all = [
    answer(),
    of({
      differing: 740,
      logits: 61,
      flips: 1,
      parted: 1,
      l2: 1e-12,
      kl: 1e-15,
      errors: { cached: 1e-12, uncached: 1 },
    }),
    of({ compared: 0, logits: 1452 }, { planted: 2, setting: 'bf16 · ort' }),
    answer({ gates: [broken('canary')] }),
    answer({ comparisons: [] }),
  ];
  const text = all
    .flatMap(({ head, lede, cards }) => [
      head,
      seen(lede),
      ...cards.map((each) => `${each.answer} ${seen(each.evidence)}`),
    ])
    .join('\n');
  expect(text).not.toMatch(/significant|dramatic|\bonly\b|\bvery\b|undefined|\bnull \/|\[object/);
  expect(text).not.toMatch(/\b0\.0+ %|\b0 %/);
  expect(text).toContain('mean L2 of logits < 1e-9; KL < 1e-9');
});
