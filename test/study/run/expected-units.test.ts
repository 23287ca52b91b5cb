/** Which units are made: none under graphs that failed a harness gate. */
import { expect, test } from 'vitest';
import { expectedUnits, progressOf } from '../../../src/study/run/expected-units.ts';
import { UnitJournal } from '../../../src/study/run/unit-journal.ts';
import { WorkUnits } from '../../../src/study/run/work-units.ts';
import type { GatesUnit } from '../../../src/study/unit/unit.ts';
import { gates } from '../unit-fixture.ts';
import { madeUpUnit, temporaryFolder } from './tiny-study.ts';

const units = new WorkUnits([2, 3, 1]);
const groupOf = [0, 1, 0];
const measured = (group: number, failed: string[] = []): GatesUnit => ({
  ...{ kind: 'gates', group, classes: [], placeboPlan: 'forward' },
  gates: gates(failed),
});
const made = (...groups: GatesUnit[]) => [
  ...expectedUnits(groupOf, units, null, { gates: new Map(groups.map((unit) => [unit.group, unit])) }),
];

test('all, where gates hold or are not known yet', () => {
  expect(made()).toEqual([0, 1, 2, 3, 4, 5]);
  expect(made(measured(0), measured(1))).toEqual([0, 1, 2, 3, 4, 5]);
});

test('none of a group whose harness failed; a failed identification gate leaves them', () => {
  expect(made(measured(0, ['repeat']), measured(1))).toEqual([2, 3, 4]);
  expect(made(measured(0), measured(1, ['repeat']))).toEqual([0, 1, 5]);
  expect(made(measured(0, ['prefix']), measured(1))).toEqual([0, 1, 2, 3, 4, 5]);
});

test('a journal is whole without the units that are not made', () => {
  const journal = UnitJournal.open(`${temporaryFolder()}/journal.jsonl`, {}, units);
  const progress = () => progressOf({ groups: [0, 1], groupOf }, units, null, journal);
  journal.append(measured(0, ['repeat']));
  for (const unit of [2, 3]) journal.append(madeUpUnit(unit, { condition: 1, index: unit - 2 }));
  expect(progress()).toEqual({ done: 2, total: 3, whole: false });
  journal.append(madeUpUnit(4, { condition: 1, index: 2 }));
  expect(progress()).toEqual({ done: 3, total: 3, whole: false });
  journal.append(measured(1));
  expect(progress()).toEqual({ done: 3, total: 3, whole: true });
  journal.close();
});
