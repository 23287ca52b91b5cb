/** The texts of both arms come out of the tables as the arms wrote them, with what each was about to choose from. */
import { afterAll, describe, expect, test } from 'vitest';
import type { PromptResult } from '../../../src/divergence/rows.ts';
import { isMissing } from '../../../src/report/data/missing.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import { type TokenFlow, tokenFlowData } from '../../../src/report/data/token-flow.ts';
import { prompts, run, type TestRun } from '../../divergence/run.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';
import { present } from '../run-fixture.ts';
import { tablesOfRows } from '../tables-of-rows.ts';
import { type FlowOptions, flowRows, flowRun, parting, type Texts, words } from '../token-flow-rows.ts';

const read = async (texts: Texts, options: FlowOptions = {}) => present(await tokenFlowData(flowRun(texts, options)));
const textOf = ({ arms }: TokenFlow, arm: 'uncached' | 'cached') => arms[arm].map(({ text }) => text);
const again = ({ arms }: TokenFlow, arm: 'uncached' | 'cached') =>
  arms[arm].filter((token) => token.again !== null).map(({ step, again: other }) => [step, other]);

describe('texts', () => {
  test('are whole, the longer one too, with the flip and its margin', async () => {
    const data = await read(parting, { flip: { margin_choice: 0.25 } });
    expect(textOf(data, 'uncached')).toEqual(parting.uncached);
    expect(textOf(data, 'cached')).toEqual(parting.cached);
    expect(data.arms.cached.map(({ step }) => step)).toEqual(parting.cached.map((_, step) => step));
    expect(data).toMatchObject({ flip: { step: 3, margin: 0.25, tie: false }, promptIndex: 6, promptTokens: 4 });
    expect(data.promptEnd.map(({ text }) => text)).toEqual(['Tom', ' eats', '?', '\n']);
    const other = await read({ uncached: parting.cached, cached: parting.uncached });
    expect(textOf(other, 'uncached')).toEqual(parting.cached);
  });

  test('agree again where runs of three tokens are written again, in order, wherever they stand', async () => {
    const data = await read(parting);
    // ball and she likes it .
    expect(again(data, 'uncached')).toEqual([4, 5, 6, 7, 8, 9].map((step) => [step, step + 1]));
    expect(again(data, 'cached')).toEqual([5, 6, 7, 8, 9, 10].map((step) => [step, step - 1]));
    const short = await read({ uncached: words('a b red x y . q'), cached: words('a b big z x y . r') });
    expect(again(short, 'uncached')).toEqual([3, 4, 5].map((step) => [step, step + 1]));
    // The token that differs is not a later one: with it, red b c would be a run.
    const atFlip = await read({ uncached: words('a red b c x'), cached: words('a big red b c') });
    expect(again(atFlip, 'uncached')).toEqual([]);
    const none = await read({ uncached: words('a red x y . x'), cached: words('a big x y , .') });
    expect([...again(none, 'uncached'), ...again(none, 'cached')]).toEqual([]);
  });

  test('that are equal have no flip, and nothing is said to be written again', async () => {
    const data = await read({ uncached: parting.uncached, cached: parting.uncached });
    expect(data.flip).toBeNull();
    expect([...again(data, 'uncached'), ...again(data, 'cached')]).toEqual([]);
    expect(textOf(data, 'cached')).toEqual(parting.uncached);
  });

  test.each([0, 1])('may part at step %i', async (step) => {
    const start = ['She'].slice(0, step);
    const data = await read({ uncached: [...start, ' a', ' b'], cached: [...start, ' c', ' d'] });
    expect(data.flip?.step).toBe(step);
  });

  test('without a tokenizer are ids', async () => {
    const { id, tables } = flowRows(parting, { tokenizer: false });
    const data = present(await tokenFlowData(tablesOfRows(tables)));
    expect(textOf(data, 'uncached')).toEqual(parting.uncached.map((text) => `#${id(text)}`));
    expect(data.promptEnd[0].text).toBe(`#${id('Tom')}`);
    expect(data.arms.cached[3].candidates?.[1].text).toBe(`#${id('and')}`);
  });

  test('of a long prompt begin with its last 24 tokens', async () => {
    const data = await read(parting, { promptText: Array.from({ length: 50 }, (_, i) => ` w${i}`) });
    expect(data.promptTokens).toBe(50);
    expect(data.promptEnd.map(({ text }) => text)).toEqual(Array.from({ length: 24 }, (_, i) => ` w${26 + i}`));
  });

  test('of a study come from its answers; margin and candidates are those of the flip', async () => {
    const { id, tables } = flowRows(parting, { flip: { margin_choice: 0.5 } });
    const key = { condition: 'c', prompt: 'p' };
    const answers = (['cached', 'uncached'] as const).map((arm) => ({ ...key, arm, tokens: parting[arm].map(id) }));
    const steps = tables.steps.filter(({ protocol, step }) => protocol === 'teacher-forced' || Number(step) >= 3);
    const candidates = tables.candidates?.filter(({ step }) => step === 3) ?? [];
    const matched = { ...key, arm: 'order-matched', tokens: [1] };
    const data = present(
      await tokenFlowData(tablesOfRows({ ...tables, steps, candidates, answers: [matched, ...answers] })),
    );
    expect(textOf(data, 'cached')).toEqual(parting.cached);
    expect(data.flip).toEqual({ step: 3, margin: 0.5, tie: false });
    for (const arm of ['cached', 'uncached'] as const)
      expect(data.arms[arm].filter((token) => token.candidates !== null).map(({ step }) => step)).toEqual([3]);
  });
});

describe('candidates', () => {
  test('are each arm’s own, in order, with texts and probabilities; null without the table', async () => {
    const data = await read(parting, {
      candidates: (arm, step, text) => [
        [text, 0.6],
        [`${arm}${step}`, 0.1 + 0.2],
      ],
    });
    const { candidates } = data.arms.cached[11];
    expect(candidates?.map(({ text, probability }) => [text, probability])).toEqual([
      [' End', 0.6],
      ['cached11', 0.1 + 0.2],
    ]);
    expect(data.arms.uncached[2].candidates?.[1].text).toBe('uncached2');
    const without = await read({ uncached: parting.uncached, cached: parting.uncached }, { candidates: null });
    expect(without.arms.uncached.every((token) => token.candidates === null)).toBe(true);
  });
});

describe('a tie', () => {
  test.each([
    ['tie_cached', 'greedy', true],
    ['tie_uncached', 'greedy', true],
    // The draw decides, not the raw logits.
    ['tie_uncached', 't1.0', false],
  ])('%s under %s: %s', async (column, strategy, tie) => {
    const data = await read(parting, { flip: { [column]: true }, condition: { strategy } });
    expect(data.flip?.tie).toBe(tie);
  });
});

describe('the prompt', () => {
  const merged = (...each: ReturnType<typeof flowRows>[]) =>
    tablesOfRows({
      ...each[0].tables,
      prompts: each.flatMap(({ tables }) => tables.prompts),
      steps: each.flatMap(({ tables }) => tables.steps),
      candidates: each.flatMap(({ tables }) => tables.candidates ?? []),
    });
  const equal = flowRows({ uncached: ['a', 'b'], cached: ['a', 'b'] }, { prompt: 'equal' });
  const late = flowRows({ uncached: ['a', 'b', 'c'], cached: ['a', 'b', 'd'] }, { prompt: 'late' });
  const early = flowRows({ uncached: ['a', 'b'], cached: ['a', 'c'] }, { prompt: 'early' });
  const second = flowRows({ uncached: ['a', 'b'], cached: ['a', 'c'] }, { prompt: 'second' });

  test('is by default that which parts at the earliest step, of equals the first; without a flip the first', async () => {
    expect(present(await tokenFlowData(merged(equal, late, early, second))).prompt).toBe('early');
    expect(present(await tokenFlowData(merged(equal, late))).prompt).toBe('late');
    expect(present(await tokenFlowData(merged(equal))).prompt).toBe('equal');
  });

  test('asked for is the one that is shown', async () => {
    const data = present(await tokenFlowData(merged(equal, late, early), { prompt: 'late' }));
    expect([data.prompt, data.flip?.step]).toEqual(['late', 2]);
  });
});

test('says what is missing and the command that makes it', async () => {
  const { tables } = flowRows(parting);
  const forced = tables.steps.filter(({ protocol }) => protocol === 'teacher-forced');
  const missing = await Promise.all([
    tokenFlowData(tablesOfRows({})),
    tokenFlowData(tablesOfRows({ conditions: tables.conditions })),
    tokenFlowData(tablesOfRows({ conditions: tables.conditions, steps: [] })),
    tokenFlowData(tablesOfRows(tables), { condition: 'none' }),
    tokenFlowData(tablesOfRows(tables), { prompt: 'none' }),
    tokenFlowData(tablesOfRows({ conditions: tables.conditions, steps: forced })),
  ]);
  expect(missing.map(isMissing)).toEqual(Array(6).fill(true));
  expect(missing[5]).toEqual({
    missing:
      'No free-running step of prompt p under c: the run was teacher-forced, its tokens were given, or it has no such prompt.',
    command: 'kvlens diverge MODEL --out FOLDER',
  });
});

describe('a real run', () => {
  const made: (TestRun | string)[] = [];
  afterAll(() => {
    for (const each of made) typeof each === 'string' ? removeCheckpoint(each) : each.remove();
  });

  test('has the tokens that its arms wrote, and greedy arms choose their first candidate', async () => {
    const dir = writeTinyCheckpoint({ modelType: 'mistral', attention: 'gqa', seed: 4 });
    const results: PromptResult[] = [];
    const lists = Array.from({ length: 6 }, (_, i) => [1, 3 + i, 40 + i, 9]);
    const settings = { precision: 'bf16', kernels: 'split-k:8:storage', prompts: prompts(...lists), maxNewTokens: 30 };
    const found = await run(dir, { ...settings, hooks: 'logits', onPrompt: (result) => results.push(result) });
    made.push(dir, found);
    const tables = openRunFolder(found.path);
    for (const { prompt, tokensCached, tokensUncached } of results) {
      const { arms, flip } = present(await tokenFlowData(tables, { prompt }));
      expect(arms.cached.map(({ token }) => token)).toEqual(tokensCached);
      expect(arms.uncached.map(({ token }) => token)).toEqual(tokensUncached);
      const parts = tokensCached.findIndex((token, step) => token !== tokensUncached[step]);
      expect(flip?.step ?? -1).toBe(parts);
      for (const token of [...arms.cached, ...arms.uncached]) expect(token.candidates?.[0].token).toBe(token.token);
    }
    const steps = results.map(({ tokensCached: c, tokensUncached: u }) =>
      c.findIndex((token, step) => token !== u[step]),
    );
    const parted = steps.filter((step) => step >= 0);
    expect(parted.length).toBeGreaterThan(0);
    expect(present(await tokenFlowData(tables)).prompt).toBe(`p${steps.indexOf(Math.min(...parted))}`);
  });
});
