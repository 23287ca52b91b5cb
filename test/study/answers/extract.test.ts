import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { extractAnswer, isCorrect } from '../../../src/study/answers/extract.ts';
import { goldAnswer } from '../../../src/study/prompt-record.ts';
import { sharedPath } from '../../shared.ts';

describe('strict', () => {
  test.each([
    ['So 3 + 4 = 7.\n#### 7', '7'],
    ['#### 1,234.', '1234'],
    ['#### -5 apples', '-5'],
    ['#### 3\nQuestion: …\n#### 4', '3'],
    ['#### $18', null],
    ['####18', null],
    ['The answer is 18', null],
    ['#### 0.50', '0.50'],
    ['#### ...', '..'],
  ])('%j gives %j', (text, expected) => {
    expect(extractAnswer(text, 'strict')).toBe(expected);
  });
});

describe('flexible', () => {
  test.each([
    ['She makes $18 every day.', '18'],
    ['First 3, then 12.', '12'],
    ['It is $1,000,000.50', '1000000.50'],
    ['x = 7', '7'],
    ['-3 degrees', '-3'],
    ['#### 18', '18'],
    ['none at all', null],
    // As the harness has it: two points are a number of two characters, and one loses its last.
    ['It is 5. Well...', '..'],
    ['8-3', '-3'],
  ])('%j gives %j', (text, expected) => {
    expect(extractAnswer(text, 'flexible')).toBe(expected);
  });
});

test('an answer is right if it is the gold one but for commas, dollar signs and a final point', () => {
  expect(isCorrect('1234', '1,234')).toBe(true);
  expect(isCorrect('18', '$18.')).toBe(true);
  expect(isCorrect('18', 'Janet sells 16.\n#### 18')).toBe(true);
  expect(isCorrect('18.0', '18')).toBe(false);
  expect(isCorrect(null, '18')).toBe(false);
  expect(isCorrect('18', null)).toBeNull();
});

const gsm8k = sharedPath('data', 'gsm8k', 'test.jsonl');
test.skipIf(gsm8k === null)('every worked answer of GSM8K gives its gold answer, strict and flexible', () => {
  const lines = readFileSync(gsm8k!, 'utf8').trimEnd().split('\n');
  expect(lines).toHaveLength(1319);
  const exceptions = lines.flatMap((line) => {
    const { answer }: { answer: string } = JSON.parse(line);
    const gold = goldAnswer(answer);
    const formats = (['strict', 'flexible'] as const).map((format) => extractAnswer(answer, format));
    return gold !== null && formats.every((found) => isCorrect(found, gold) && isCorrect(found, answer))
      ? []
      : [answer];
  });
  expect(exceptions).toEqual([]);
});
