/** Units and shards: every unit is in one shard, in order, wherever conditions begin and however many prompts they have. */
import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { isOfShard, isShard, parseShard, WorkUnits } from '../../../src/study/run/work-units.ts';

const promptCounts = [[], [0], [1], [5], [3, 3], [0, 4, 0, 0, 2], [7, 1, 0, 30]];
const shards = [1, 2, 3, 7, 50];

describe.each(promptCounts.map((prompts) => [prompts] as const))('prompts %j', (prompts) => {
  const units = new WorkUnits(prompts);

  test('units count through the conditions, and in each through its prompts', () => {
    const expected = prompts.flatMap((count, condition) =>
      Array.from({ length: count }, (_, prompt) => ({ condition, prompt })),
    );
    expect(units.count).toBe(expected.length);
    expect(Array.from({ length: units.count }, (_, unit) => units.at(unit))).toEqual(expected);
  });

  test.each(shards)('%i shards divide them: each unit in one, in order, as even as can be', (of) => {
    const parts = Array.from({ length: of }, (_, i) => [...units.of({ index: i + 1, of })]);
    expect(parts.flat().sort((a, b) => a - b)).toEqual([...units.of(null)]);
    for (const [i, part] of parts.entries()) {
      const shard = { index: i + 1, of };
      expect(part).toEqual([...part].sort((a, b) => a - b));
      expect(units.countOf(shard)).toBe(part.length);
      for (let unit = 0; unit < units.count; unit++) expect(isOfShard(unit, shard)).toBe(part.includes(unit));
    }
    const lengths = parts.map(({ length }) => length);
    expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
  });
});

test('without a shard every unit is made', () => {
  const units = new WorkUnits([2, 3]);
  expect([...units.of(null)]).toEqual([0, 1, 2, 3, 4]);
  expect(units.countOf(null)).toBe(5);
  expect(isOfShard(4, null)).toBe(true);
});

test('shards of every condition: no shard has a condition to itself', () => {
  const units = new WorkUnits([6, 6, 6]);
  for (let index = 1; index <= 3; index++) {
    const conditions = [...units.of({ index, of: 3 })].map((unit) => units.at(unit).condition);
    expect(conditions).toEqual([0, 0, 1, 1, 2, 2]);
  }
});

test.each(['1/1', '1/4', '4/4', '999999/999999'])('%s is a shard', (text) => {
  const [index, of] = text.split('/').map(Number);
  expect(parseShard(text)).toEqual({ index, of });
  expect(isShard(JSON.parse(JSON.stringify(parseShard(text))))).toBe(true);
});

test.each(['', '1', '0/4', '5/4', '1/0', '-1/4', '1.5/4', '1/4/2', ' 1/4', 'a/b', '1/9999999'])(
  '%j is none',
  (text) => {
    expect(() => parseShard(text)).toThrow(UsageError);
    expect(() => parseShard(text)).toThrow(`--shard: found ${JSON.stringify(text)}, expected i/n with 1 ≤ i ≤ n`);
  },
);

test.each([
  null,
  1,
  {},
  { index: 1 },
  { index: 0, of: 2 },
  { index: 3, of: 2 },
  { index: '1', of: 2 },
  { index: 1.5, of: 2 },
])('%j in a file is none', (value) => {
  expect(isShard(value)).toBe(false);
});
