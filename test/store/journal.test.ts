/** Journals: what is on the disk is read again as it was, whatever happened to the last line. */
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { hasJournal, Journal } from '../../src/store/journal.ts';
import { temporaryFolder } from './folder.ts';

const parse = (value: unknown) => value;
const identity = { model: 'tiny', decodeRows: 1, spec: { steps: { every: 8 } } };
const file = (folder: string) => join(folder, 'journal.jsonl');

function written(...entries: unknown[]): string {
  const folder = temporaryFolder();
  const journal = Journal.open(folder, identity, parse);
  for (const entry of entries) journal.append(entry);
  journal.close();
  return folder;
}

test('entries come back in their order, numbers bit for bit', () => {
  const entries = [
    { a: 0.1 + 0.2 },
    { a: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 5e-324] },
  ];
  const journal = Journal.open(written(...entries), identity, parse);
  expect(journal.entries).toEqual(entries);
  expect(Object.is((journal.entries[1] as { a: number[] }).a[3], -0)).toBe(true);
  journal.remove();
});

test('a torn last line is cut off, and the next entry takes its place', () => {
  for (const cut of [1, 4, 7]) {
    const folder = written({ n: 1 }, { n: 2 });
    truncateSync(file(folder), readFileSync(file(folder)).length - cut);
    const journal = Journal.open(folder, identity, parse);
    expect(journal.entries).toEqual([{ n: 1 }]);
    journal.append({ n: 3 });
    journal.close();
    expect(Journal.open(folder, identity, parse).entries).toEqual([{ n: 1 }, { n: 3 }]);
  }
});

test('a torn first line is a journal that was never begun', () => {
  const folder = temporaryFolder();
  writeFileSync(file(folder), '{"format":2,"iden');
  const journal = Journal.open(folder, identity, parse);
  expect(journal.entries).toEqual([]);
  journal.append(7);
  journal.close();
  expect(Journal.open(folder, identity, parse).entries).toEqual([7]);
});

test('damage before the last line is refused', () => {
  const folder = written({ n: 1 });
  appendFileSync(file(folder), '{"n":\n{"n":3}\n');
  expect(() => Journal.open(folder, identity, parse)).toThrow(/journal\.jsonl: line 3 is damaged/);
});

test('an entry of another shape is refused with its line', () => {
  const folder = written({ n: 1 });
  const strict = (value: unknown) => {
    if (typeof value !== 'string') throw new TypeError('no text');
    return value;
  };
  expect(() => Journal.open(folder, identity, strict)).toThrow(InputError);
  expect(() => Journal.open(folder, identity, strict)).toThrow(/journal\.jsonl: line 2 is not what a run/);
});

test('another configuration is refused with what differs', () => {
  const folder = written({ n: 1 });
  const other = { ...identity, decodeRows: 2, spec: { steps: { every: 4 } } };
  expect(() => Journal.open(folder, other, parse)).toThrow(InputError);
  expect(() => Journal.open(folder, other, parse)).toThrow(
    /--resume: .*journal\.jsonl is another run's: decodeRows was 1, is 2; spec\.steps\.every was 8, is 4$/,
  );
});

test('a journal is there until it is removed', () => {
  const folder = written({ n: 1 });
  expect(hasJournal(folder)).toBe(true);
  Journal.open(folder, identity, parse).remove();
  expect(hasJournal(folder)).toBe(false);
});
