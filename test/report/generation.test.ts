import { expect, test } from 'vitest';
import { firstDifference, renderGeneration } from '../../src/report/terminal/index.ts';

const plain = { columns: 80, color: false, unicode: true };
const words = [' a', ' b', ' c'];
const tokenText = (token: number) => words[token] ?? null;

test('arms part at the first token that differs, or where one has stopped', () => {
  expect(firstDifference([1, 2, 3], [1, 2, 3])).toBeNull();
  expect(firstDifference([1, 2, 3], [1, 0, 3])).toBe(1);
  expect(firstDifference([1, 2], [1, 2, 3])).toBe(2);
});

test('one arm prints its text alone, without what could steer a terminal', () => {
  const text = 'one\ntwo\u001b[2J\u202e';
  expect(renderGeneration([{ arm: 'cached', tokens: [0], text }], tokenText, plain)).toBe('one\ntwo\\x1b[2J\\x202e');
});

test('without a tokenizer the ids are the text', () => {
  expect(renderGeneration([{ arm: 'cached', tokens: [4, 5], text: null }], () => null, plain)).toBe('4 5');
});

test('two arms end with where they part', () => {
  const arms = [
    { arm: 'cached', tokens: [0, 1], text: ' a b' },
    { arm: 'uncached', tokens: [0, 2], text: ' a c' },
  ] as const;
  expect(renderGeneration(arms, tokenText, plain).split('\n')).toEqual([
    'cached',
    ' a b',
    '',
    'uncached',
    ' a c',
    '',
    '✗ TOKENS DIFFER  first at step 1: cached ␣b, uncached ␣c',
  ]);
  expect(renderGeneration([arms[0], { ...arms[1], tokens: [0, 1] }], tokenText, plain)).toMatch(/= EQUAL {2}2 tokens$/);
  const equal = (firstDifferent: number | null, decodeRows: number) =>
    renderGeneration([arms[0], { ...arms[1], tokens: [0, 1] }], tokenText, plain, { firstDifferent, decodeRows })
      .split('\n')
      .slice(6)
      .join(' ');
  expect(equal(1, 1)).toBe('= EQUAL  2 tokens; their logits are not, first at step 1');
  expect(equal(null, 1)).toBe('= EQUAL  2 tokens and every bit of their logits');
  expect(equal(null, 2)).toBe(
    "= EQUAL  2 tokens and every bit of their logits: 2 rows per decode step sum in   recomputation's order",
  );
});
