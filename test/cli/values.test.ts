import { expect, test } from 'vitest';
import { byteSize, choice, finiteNumber, integer, readEscapes, tokenList } from '../../src/cli/values.ts';
import { UsageError } from '../../src/errors.ts';

test.each(['-5', '1.5', '1e3', '0x10', '', ' 7', 'NaN', 'Infinity', '99999999999999999', '0', '+3', '٣'])(
  '%j is no whole number ≥ 1',
  (text) => {
    expect(() => integer('limit', 1)(text)).toThrow(UsageError);
    expect(() => integer('limit', 1)(text)).toThrow(
      `--limit: found ${JSON.stringify(text)}, expected a whole number ≥ 1`,
    );
  },
);

test('a range is part of the message', () => {
  expect(() => integer('threads', 1, 8)('9')).toThrow('--threads: found "9", expected a whole number from 1 to 8');
});

test.each(['NaN', 'Infinity', '1e999', 'abc', '', '1,5', '-1'])('%j is no temperature', (text) => {
  const read = finiteNumber('temperature', 'a number ≥ 0', (value) => value >= 0);
  expect(() => read(text)).toThrow(UsageError);
});

test('numbers are read in decimal and exponent form', () => {
  const read = finiteNumber('temperature', 'a number', () => true);
  expect(['0.7', '.5', '1e-3', '2'].map(read)).toEqual([0.7, 0.5, 0.001, 2]);
});

test('sizes have binary units', () => {
  expect(['800M', '2G', '1.5GiB', '1024', '3kb'].map(byteSize('max-memory'))).toEqual([
    838_860_800, 2_147_483_648, 1_610_612_736, 1024, 3072,
  ]);
  for (const text of ['', '0', '-1G', '2X', 'G']) expect(() => byteSize('max-memory')(text)).toThrow(UsageError);
});

test('token lists keep their order; what is not a whole number is named', () => {
  expect(tokenList('tokens')('1, 403,-2')).toEqual([1, 403, -2]);
  expect(() => tokenList('tokens')('1,x')).toThrow('--tokens: found "x", expected token ids');
  expect(() => tokenList('tokens')('1,')).toThrow('--tokens: found ""');
});

test('a choice lists its words', () => {
  expect(() => choice('arm', ['cached', 'both'])('x')).toThrow('--arm: found "x", expected cached, both');
});

test('escapes in a template stand for what they name', () => {
  expect(readEscapes(String.raw`Q: {question}\n\tA\\n`)).toBe('Q: {question}\n\tA\\n');
});
