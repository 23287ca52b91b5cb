/** Runs that two texts share: each is equal in both, none crosses another, and none could be longer where it is. */
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../../src/numerics/random.ts';
import { commonRuns } from '../../../src/report/data/common-runs.ts';

const codes = (text: string) => [...text].map((character) => character.codePointAt(0) ?? 0);
const runsOf = (a: string, b: string, least: number) =>
  commonRuns(codes(a), codes(b), least).map(({ a: start, b: other, length }) => {
    expect(a.slice(start, start + length)).toBe(b.slice(other, other + length));
    return [a.slice(start, start + length), start, other];
  });

test.each<[string, string, number, unknown[]]>([
  ['abcdef', 'xabcdef', 3, [['abcdef', 0, 1]]],
  [
    'abcXdef',
    'abcYYdef',
    3,
    [
      ['abc', 0, 0],
      ['def', 4, 5],
    ],
  ],
  ['abcXde', 'abcYde', 3, [['abc', 0, 0]]],
  [
    'abcXde',
    'abcYde',
    2,
    [
      ['abc', 0, 0],
      ['de', 4, 4],
    ],
  ],
  // The longer run is matched, the other one would cross it.
  ['abcd123', '123abcd', 3, [['abcd', 0, 3]]],
  // Of equal runs the first of the first text, then of the second.
  ['abc-abc', 'abc', 3, [['abc', 0, 0]]],
  ['abc', 'abc-abc', 3, [['abc', 0, 0]]],
  ['xyz-abc', 'abc=xyz', 3, [['xyz', 0, 4]]],
  ['', 'abc', 1, []],
  ['abc', '', 1, []],
  ['abc', 'xyz', 1, []],
])('%j and %j share, in runs of %i', (a, b, least, expected) => {
  expect(runsOf(a, b, least)).toEqual(expected);
});

describe('of random texts', () => {
  const stream = new RandomStream(7, 'runs');
  const random = (length: number, letters: number) =>
    Array.from({ length }, () => Math.floor(stream.uniform() * letters));
  /** By looking at every pair of places. */
  const longest = (a: number[], b: number[]) => {
    let best = 0;
    for (let i = 0; i < a.length; i++)
      for (let j = 0; j < b.length; j++) {
        let length = 0;
        while (i + length < a.length && a[i + length] === b[j + length]) length += 1;
        best = Math.max(best, length);
      }
    return best;
  };

  test('are equal, in order, at least as long as asked, the longest among them, and leave no longer one between', () => {
    for (let round = 0; round < 200; round++) {
      const [a, b] = [random(round % 30, 3), random((round * 7) % 31, 3)];
      const runs = commonRuns(a, b, 3);
      let [aEnd, bEnd] = [0, 0];
      for (const run of runs) {
        expect(run.a).toBeGreaterThanOrEqual(aEnd);
        expect(run.b).toBeGreaterThanOrEqual(bEnd);
        expect(run.length).toBeGreaterThanOrEqual(3);
        expect(a.slice(run.a, run.a + run.length)).toEqual(b.slice(run.b, run.b + run.length));
        expect(longest(a.slice(aEnd, run.a), b.slice(bEnd, run.b))).toBeLessThan(3);
        [aEnd, bEnd] = [run.a + run.length, run.b + run.length];
      }
      expect(longest(a.slice(aEnd), b.slice(bEnd))).toBeLessThan(3);
      const most = longest(a, b);
      expect(Math.max(0, ...runs.map(({ length }) => length))).toBe(most >= 3 ? most : 0);
    }
  });
});
