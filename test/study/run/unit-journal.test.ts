/** The journal of units: what was finished is known again, in any order, and lines of others are refused. */
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { UnitJournal } from '../../../src/study/run/unit-journal.ts';
import { WorkUnits } from '../../../src/study/run/work-units.ts';
import type { GatesUnit, PromptUnit } from '../../../src/study/unit/unit.ts';
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
/** What is in the journal of a unit of prompt `p{unit}`. */
function read(journal: UnitJournal, unit: number): PromptUnit {
  const found: PromptUnit[] = [];
  journal.use(unit, `p${unit}`, (one) => found.push(one));
  return found[0];
}
const at = () => join(temporaryFolder(), 'journal.jsonl');

test('units come back as they were, whatever the order they were finished in', () => {
  const path = at();
  const first = UnitJournal.open(path, identity, new WorkUnits([10]));
  first.append(madeUpUnit(7, { flips: 2 }));
  first.append(gates);
  first.append(madeUpUnit(0));
  expect({ finished: first.finished, flips: first.flips }).toEqual({ finished: 2, flips: 2 });
  first.close();

  const again = UnitJournal.open(path, identity, new WorkUnits([10]));
  expect({ finished: again.finished, flips: again.flips }).toEqual({ finished: 2, flips: 2 });
  expect(again.gates).toEqual(new Map([[1, gates]]));
  again.append(madeUpUnit(3, { flips: 1 }));
  for (const [unit, flips] of [
    [0, 0],
    [7, 2],
    [3, 1],
  ]) {
    const found = read(again, unit);
    expect(found).toEqual(madeUpUnit(unit, { flips }));
    expect(Object.is(found.summary.sums.tv, -0)).toBe(true);
    expect(found.rows.temperatures?.[0][3]).toBeNaN();
  }
  expect([0, 1, 3, 7, 9].map((unit) => again.has(unit))).toEqual([true, false, true, true, false]);
  expect(() => read(again, 1)).toThrow('unit 1 is not in');
  again.close();
});

test('a unit whose line was torn is not finished', () => {
  const path = at();
  const journal = UnitJournal.open(path, identity, new WorkUnits([4]));
  journal.append(madeUpUnit(0));
  journal.append(madeUpUnit(1, { flips: 1 }));
  journal.close();
  truncateSync(path, readFileSync(path).length - 1);
  const again = UnitJournal.open(path, identity, new WorkUnits([4]));
  expect([again.has(0), again.has(1), again.finished, again.flips]).toEqual([true, false, 1, 0]);
  again.append(madeUpUnit(1, { flips: 1 }));
  again.close();
  const third = UnitJournal.open(path, identity, new WorkUnits([4]));
  expect(read(third, 1)).toEqual(madeUpUnit(1, { flips: 1 }));
  third.close();
});

test('a unit that is there twice counts once, as it was first', () => {
  const path = at();
  const journal = UnitJournal.open(path, identity, new WorkUnits([4]));
  journal.append(madeUpUnit(2, { flips: 1 }));
  journal.close();
  const line = readFileSync(path, 'utf8').split('\n')[1];
  appendFileSync(path, `${line}\n${line}\n`);
  const again = UnitJournal.open(path, identity, new WorkUnits([4]));
  expect([again.finished, again.flips]).toEqual([1, 1]);
  expect(read(again, 2)).toEqual(madeUpUnit(2, { flips: 1 }));
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
  UnitJournal.open(path, identity, new WorkUnits([4])).close();
  const offset = readFileSync(path).length;
  appendFileSync(path, `${line}\n`);
  const open = () => UnitJournal.open(path, identity, new WorkUnits([4]));
  expect(open).toThrow(InputError);
  expect(open).toThrow(`journal.jsonl: the line at byte ${offset} is not what a study writes`);
});

const made = madeUpUnit(2);
const { summary, rows } = made;
const [first, ...others] = rows.steps;
const cell = {
  ...{ spec: 'residual', history: 'cached', kernel: 'decode', hook: 'none', horizon: 0, cells: 1, base: 1, patched: 1 },
  ...{ vacuous: 0, byConstruction: 0, harmful: 0, exact: 0 },
};
const answer = (token: number) => [
  rows.answers[0],
  rows.answers[1].map((value) => (Array.isArray(value) ? [...value.slice(0, -1), token] : value)),
];
test.each<[string, object]>([
  ['rows of no table', { rows: { ...rows, nothing: [] } }],
  ['no rows at all', { rows: {} }],
  ['no rows of steps', { rows: { ...rows, steps: [] } }],
  ['a row of a step too few', { rows: { ...rows, steps: [first, ...others.slice(1)] } }],
  ['rows of one text alone', { rows: { ...rows, answers: rows.answers.slice(1) } }],
  ['no row of its temperature', { rows: { ...rows, temperatures: [] } }],
  ['a summary of layers that its rows lack', { summary: { ...summary, layers: [] } }],
  ['rows of a placebo that its summary lacks', { rows: { ...rows, placebo: [[1, null, null]] } }],
  ['cells that its rows lack', { summary: { ...summary, cells: [cell] } }],
  ['a token id past 32 bits', { rows: { ...rows, answers: answer(2 ** 40) } }],
  ['a step past 32 bits', { rows: { ...rows, steps: [[first[0], 2 ** 31, ...first.slice(2)], ...others] } }],
  ['a summary that lacks a field', { summary: { flips: [] } }],
  ['a field that no unit has', { more: 1 }],
  ['another condition', { summary: { ...summary, condition: 1 } }],
  ['a condition beyond all', { summary: { ...summary, condition: 99 } }],
  ['another place of its prompt', { summary: { ...summary, index: 3 } }],
  ['another prompt', { summary: { ...summary, prompt: 'p3' } }],
  ['a prompt without a name', { summary: { ...summary, prompt: '' } }],
  ['a place where its texts do not part', { summary: { ...summary, divergedAt: 1e9 } }],
  ['no texts', { summary: { ...summary, answers: [] }, rows: { ...rows, answers: [] } }],
  ['margins of other steps', { summary: { ...summary, margins: [1] } }],
  [
    'a flip after its last step',
    { summary: { ...summary, flips: [{ ...madeUpUnit(0, { flips: 1 }).summary.flips[0], step: 12 }] } },
  ],
])('a unit with %s is noticed when it is used', (_, change) => {
  const path = at();
  UnitJournal.open(path, identity, new WorkUnits([4])).close();
  const own = UnitJournal.open(path, identity, new WorkUnits([4]));
  own.append(made);
  expect(read(own, 2)).toEqual(made);
  own.close();
  // As the journal writes numbers that JSON has no word for.
  const encode = (_: string, value: unknown) =>
    Object.is(value, -0) || (typeof value === 'number' && !Number.isFinite(value))
      ? { number: Object.is(value, -0) ? '-0' : String(value) }
      : value;
  const [head] = readFileSync(path, 'utf8').split('\n');
  writeFileSync(path, `${head}\n${JSON.stringify({ ...made, ...change }, encode)}\n`);
  const journal = UnitJournal.open(path, identity, new WorkUnits([4]));
  expect(() => read(journal, 2)).toThrow(InputError);
  expect(() => read(journal, 2)).toThrow('journal.jsonl: unit 2 is not what a study writes');
  journal.close();
});

test('a unit that nothing can be done with was changed; what the user did is said as it is', () => {
  const journal = UnitJournal.open(at(), identity, new WorkUnits([4]));
  journal.append(made);
  const doing = (error: Error) => () =>
    journal.use(2, 'p2', () => {
      throw error;
    });
  expect(doing(new RangeError('no such value'))).toThrow('journal.jsonl: unit 2 is not what a study writes');
  expect(doing(new InputError('the disk is full'))).toThrow('the disk is full');
  journal.close();
});

test('gates of a group that are none at all are refused', () => {
  const path = at();
  const journal = UnitJournal.open(path, identity, new WorkUnits([4]));
  journal.append({ ...gates, gates: [] });
  journal.close();
  expect(() => UnitJournal.open(path, identity, new WorkUnits([4]))).toThrow(
    /the line at byte \d+ is not what a study/,
  );
});

test('another study is refused with what differs, and its journal is left as it is', () => {
  const path = at();
  UnitJournal.open(path, identity, new WorkUnits([4])).close();
  const before = readFileSync(path);
  expect(() => UnitJournal.open(path, { ...identity, seed: 4 }, new WorkUnits([4]))).toThrow(
    /another run's: seed was 3, is 4$/,
  );
  expect(readFileSync(path).equals(before)).toBe(true);
});
