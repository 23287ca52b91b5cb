/** A journal file: wherever a crash cut it, what was whole is read again, and what follows takes the place of the rest. */
import { copyFileSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { differences, JournalFile, someDifferences } from '../../src/store/journal-file.ts';
import { temporaryFolder } from './folder.ts';

const identity = { study: 'tiny', seed: 3 };
const name = 'journal.jsonl';

/** A closed journal with these lines. */
function written(...values: unknown[]): string {
  const path = join(temporaryFolder(), name);
  const file = JournalFile.open(path, identity);
  for (const value of values) file.append(value);
  file.close();
  return path;
}

function valuesOf(file: JournalFile): unknown[] {
  return [...file.lines()].map(({ value }) => value);
}

function readAll(path: string): unknown[] {
  const file = JournalFile.read(path);
  try {
    return valuesOf(file);
  } finally {
    file.close();
  }
}

test('cut at any byte of its last line, the lines before it are whole, and a new one takes its place', () => {
  const last = { unit: 2, text: 'Zoë 猫 🐈', rows: [[-0, Number.NaN, null]] };
  const whole = written({ unit: 1 }, last);
  const before = written({ unit: 1 });
  const [from, to] = [statSync(before).size, statSync(whole).size];
  const torn = join(temporaryFolder(), name);
  expect(to - from).toBeGreaterThan(40);
  for (let length = from; length < to; length++) {
    copyFileSync(whole, torn);
    truncateSync(torn, length);
    const file = JournalFile.open(torn, identity);
    expect(valuesOf(file), `cut at ${length}`).toEqual([{ unit: 1 }]);
    file.append(last);
    file.close();
    expect(readFileSync(torn).equals(readFileSync(whole)), `cut at ${length}`).toBe(true);
  }
});

test('cut at any byte of its first line, it is begun anew', () => {
  const empty = written();
  const torn = join(temporaryFolder(), name);
  for (let length = 0; length < statSync(empty).size; length++) {
    writeFileSync(torn, readFileSync(empty).subarray(0, length));
    const file = JournalFile.open(torn, identity);
    expect(valuesOf(file)).toEqual([]);
    file.close();
    expect(readFileSync(torn).equals(readFileSync(empty)), `cut at ${length}`).toBe(true);
  }
});

test('lines longer than the pieces it is read in, and ends of lines at every border of them, come back with their places', () => {
  const piece = 1 << 20;
  const path = join(temporaryFolder(), name);
  const file = JournalFile.open(path, identity);
  // `"x…x"\n`: the line ends just before, on and just after the border of a piece counted from the first line's end.
  const lengths = [piece - 4, 0, 0, 3 * piece + 17, 1, 2 * piece - 3, 5];
  const kept = lengths.map((length, i) => {
    const value = String.fromCodePoint(97 + i).repeat(length);
    return { value, ...file.append(value) };
  });
  expect(kept[0].bytes).toBe(piece - 1);
  expect([...file.lines()]).toEqual(kept);
  // Read backwards, one by one, while more is written behind them.
  for (const { value, offset, bytes } of [...kept].reverse()) {
    file.append('behind');
    expect(file.read({ offset, bytes })).toBe(value);
  }
  file.close();
  const text = readFileSync(path, 'utf8');
  for (const { value, offset, bytes } of kept) {
    expect(text.slice(offset, offset + bytes) === `"${value}"\n`).toBe(true);
  }
});

test('reading changes nothing, not even a torn end', () => {
  const path = written({ unit: 1 }, { unit: 2 });
  truncateSync(path, statSync(path).size - 3);
  const before = readFileSync(path);
  const file = JournalFile.read(path);
  expect(file.identity).toEqual(identity);
  expect(valuesOf(file)).toEqual([{ unit: 1 }]);
  expect(() => file.append({ unit: 3 })).toThrow();
  file.close();
  expect(readFileSync(path).equals(before)).toBe(true);
});

test('numbers that JSON has no word for come back, and text that looks like them stays text', () => {
  const value = {
    numbers: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 5e-324, 2 ** 53, 0.1 + 0.2],
    texts: ['NaN', '-0', '{"number":"NaN"}', '\u2028\n\r\0'],
    nulls: [null],
  };
  const [found] = readAll(written(value));
  expect(found).toEqual(value);
  expect(Object.is((found as typeof value).numbers[3], -0)).toBe(true);
  expect(Object.is((found as typeof value).numbers[4], 0)).toBe(true);
});

test.each([
  ['an empty file', '', /is empty, expected the journal of a run/],
  ['text of another kind', 'hello\nworld\n', /line 1 is damaged/],
  // Its study units have no rows of candidates.arrow: what goes on with them would have other bytes than one run.
  ['an older format', '{"format":1,"identity":{}}\n', /another version of kvlens wrote this journal/],
  ['another format', '{"format":99,"identity":{}}\n{"unit":1}\n', /another version of kvlens wrote this journal/],
  ['no format', '{"identity":{}}\n', /another version of kvlens wrote this journal/],
])('%s is refused, to go on with as to read', (_, content, message) => {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  expect(() => readAll(path)).toThrow(InputError);
  expect(() => readAll(path)).toThrow(message);
  if (content === '') return;
  expect(() => JournalFile.open(path, identity)).toThrow(message);
  expect(readFileSync(path, 'utf8')).toBe(content);
});

test('damage in the middle names its line and what may be kept', () => {
  const path = written({ unit: 1 }, { unit: 2 }, { unit: 3 });
  writeFileSync(path, readFileSync(path, 'utf8').replace('{"unit":2}', '{"unit":2'));
  const file = JournalFile.open(path, identity);
  let found: unknown;
  try {
    valuesOf(file);
  } catch (error) {
    found = error;
  }
  file.close();
  expect(found).toBeInstanceOf(InputError);
  expect(found).toMatchObject({
    message: expect.stringMatching(/journal\.jsonl: line 3 is damaged$/),
    hint: 'keep its first 2 lines, or remove the folder and run again',
  });
  writeFileSync(path, readFileSync(path, 'utf8').split('\n').slice(0, 2).join('\n').concat('\n'));
  expect(readAll(path)).toEqual([{ unit: 1 }]);
});

test('differences name every leaf, lists of unlike length as a whole, and no more than five are shown', () => {
  const found = { a: 1, b: { c: [1, 2], d: [1] }, e: null };
  expect(differences(found, { a: 1, b: { c: [1, 2], d: [1] }, e: null })).toEqual([]);
  expect(differences(found, { a: 2, b: { c: [1, 3], d: [1, 2] }, f: 'x' })).toEqual([
    'a was 1, is 2',
    'b.c[1] was 2, is 3',
    'b.d was [1], is [1,2]',
    'e was null, is nothing',
    'f was nothing, is "x"',
  ]);
  const many = Array.from({ length: 8 }, (_, i) => `d${i}`);
  expect(someDifferences(many)).toBe('d0; d1; d2; d3; d4; … 3 more');
});

test('a folder in its place is named as one, to be read and to be written', () => {
  const path = join(temporaryFolder(), name);
  mkdirSync(path);
  expect(() => JournalFile.read(path)).toThrow(InputError);
  expect(() => JournalFile.read(path)).toThrow(/journal\.jsonl: is a folder, expected the journal of a run$/);
  expect(() => JournalFile.open(path, identity)).toThrow(InputError);
  expect(() => JournalFile.open(path, identity)).toThrow(/journal\.jsonl: cannot be written \(is a folder\)$/);
  expect(() => JournalFile.read(join(path, 'none'))).toThrow(/none: no such file, expected the journal of a run$/);
});
