/** The journal of units: what was finished is known again, in any order, and lines of others are refused. */
import { appendFileSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { UnitJournal } from '../../../src/study/run/unit-journal.ts';
import type { GatesUnit } from '../../../src/study/unit/unit.ts';
import { madeUpUnit, temporaryFolder } from './tiny-study.ts';

const identity = { command: 'study', name: 'tiny', seed: 3 };
const gates: GatesUnit = {
  ...{ kind: 'gates', group: 1, classes: ['scores'], placeboPlan: 'forward' },
  gates: [
    {
      ...{ name: 'repeat', class: 'harness', passed: true, status: 'passed' },
      ...{ measured: '0 differ', required: '0 differ', scope: 'prompt p0' },
    },
  ],
};
const at = () => join(temporaryFolder(), 'journal.jsonl');

test('units come back as they were, whatever the order they were finished in', () => {
  const path = at();
  const first = UnitJournal.open(path, identity, 10);
  first.append(madeUpUnit(7, { flips: 2 }));
  first.append(gates);
  first.append(madeUpUnit(0));
  expect({ finished: first.finished, flips: first.flips }).toEqual({ finished: 2, flips: 2 });
  first.close();

  const again = UnitJournal.open(path, identity, 10);
  expect({ finished: again.finished, flips: again.flips }).toEqual({ finished: 2, flips: 2 });
  expect(again.gates).toEqual(new Map([[1, gates]]));
  again.append(madeUpUnit(3, { flips: 1 }));
  for (const [unit, flips] of [
    [0, 0],
    [7, 2],
    [3, 1],
  ]) {
    const found = again.read(unit);
    expect(found).toEqual(madeUpUnit(unit, { flips }));
    expect(Object.is(found.summary.sums.tv, -0)).toBe(true);
    expect(found.rows.temperatures?.[0][3]).toBeNaN();
  }
  expect([0, 1, 3, 7, 9].map((unit) => again.has(unit))).toEqual([true, false, true, true, false]);
  expect(() => again.read(1)).toThrow('unit 1 is not in');
  again.close();
});

test('a unit whose line was torn is not finished', () => {
  const path = at();
  const journal = UnitJournal.open(path, identity, 4);
  journal.append(madeUpUnit(0));
  journal.append(madeUpUnit(1, { flips: 1 }));
  journal.close();
  truncateSync(path, readFileSync(path).length - 1);
  const again = UnitJournal.open(path, identity, 4);
  expect([again.has(0), again.has(1), again.finished, again.flips]).toEqual([true, false, 1, 0]);
  again.append(madeUpUnit(1, { flips: 1 }));
  again.close();
  const third = UnitJournal.open(path, identity, 4);
  expect(third.read(1)).toEqual(madeUpUnit(1, { flips: 1 }));
  third.close();
});

test('a unit that is there twice counts once, as it was first', () => {
  const path = at();
  const journal = UnitJournal.open(path, identity, 4);
  journal.append(madeUpUnit(2, { flips: 1 }));
  journal.close();
  const line = readFileSync(path, 'utf8').split('\n')[1];
  appendFileSync(path, `${line}\n${line}\n`);
  const again = UnitJournal.open(path, identity, 4);
  expect([again.finished, again.flips]).toEqual([1, 1]);
  expect(again.read(2)).toEqual(madeUpUnit(2, { flips: 1 }));
  again.close();
});

test.each([
  ['another kind of line', '{"prompt":3}'],
  ['a unit beyond the study', JSON.stringify(madeUpUnit(4))],
  ['a unit of no number', '{"kind":"prompt","unit":-1,"summary":{"flips":[]}}'],
  ['gates without their results', '{"kind":"gates","group":0}'],
  ['a list', '[]'],
])('%s is refused with its place', (_, line) => {
  const path = at();
  UnitJournal.open(path, identity, 4).close();
  const offset = readFileSync(path).length;
  appendFileSync(path, `${line}\n`);
  const open = () => UnitJournal.open(path, identity, 4);
  expect(open).toThrow(InputError);
  expect(open).toThrow(`journal.jsonl: the line at byte ${offset} is not what a study writes`);
});

test.each([
  ['rows of no table', { rows: { nothing: [] } }],
  ['a summary that lacks a field', { summary: { flips: [] } }],
  ['a field that no unit has', { more: 1 }],
])('%s are noticed when the unit is read', (_, change) => {
  const path = at();
  UnitJournal.open(path, identity, 4).close();
  appendFileSync(path, `${JSON.stringify({ ...madeUpUnit(2), ...change })}\n`);
  const journal = UnitJournal.open(path, identity, 4);
  expect(() => journal.read(2)).toThrow(InputError);
  expect(() => journal.read(2)).toThrow('journal.jsonl: unit 2 is not what a study writes');
  journal.close();
});

test('another study is refused with what differs, and its journal is left as it is', () => {
  const path = at();
  UnitJournal.open(path, identity, 4).close();
  const before = readFileSync(path);
  expect(() => UnitJournal.open(path, { ...identity, seed: 4 }, 4)).toThrow(/another run's: seed was 3, is 4$/);
  expect(readFileSync(path).equals(before)).toBe(true);
});
