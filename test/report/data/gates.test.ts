/** The gates of a run, as controls.json has them. */
import { expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { readGates } from '../../../src/report/data/gates.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import { tablesOfRows } from '../tables-of-rows.ts';

const gate = { name: 'null', class: 'identification', passed: true, status: 'passed', measured: '0', required: '0' };
const read = (value: unknown) =>
  readGates({ ...tablesOfRows({}), json: async (name) => (name === 'controls' ? value : null) });

test('come in the order of the file, with their group; more than what is read is kept', async () => {
  const gates = [
    { ...gate, name: 'z', group: 'm/fp16/ort' },
    { ...gate, name: 'a', status: 'failed', passed: false },
  ];
  expect(await read({ gates, more: 1 })).toEqual(gates.map((each) => ({ ...each, scope: '' })));
});

test('a run without controls.json has none', async () => {
  expect(await read(null)).toEqual([]);
});

test('of a run of this version are all read', async () => {
  const names = (await readGates(openRunFolder('notebooks/runs/drift'))).map(({ name }) => name);
  expect(names).toHaveLength(12);
  expect(names).toEqual(expect.arrayContaining(['repeat', 'null', 'canary', 'batch-threads']));
});

test.each<[string, unknown, RegExp]>([
  ['a list', [], /^controls\.json: its content: .*expected object/],
  ['no gates', {}, /^controls\.json: gates: /],
  ['a gate that is text', { gates: ['null'] }, /^controls\.json: gates\.0: /],
  ['another class', { gates: [{ ...gate, class: 'x' }] }, /^controls\.json: gates\.0\.class: .*harness/],
  ['another status', { gates: [gate, { ...gate, status: 'ok' }] }, /^controls\.json: gates\.1\.status: /],
  ['a number measured', { gates: [{ ...gate, measured: 0 }] }, /^controls\.json: gates\.0\.measured: /],
  ['passed in words', { gates: [{ ...gate, passed: 'yes' }] }, /^controls\.json: gates\.0\.passed: /],
])('%s is refused in one line that names the field', async (_, value, says) => {
  const error = await read(value).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  expect(error).toMatchObject({ message: expect.stringMatching(says), hint: 'kvlens writes it with every run' });
  expect(String(error)).not.toContain('\n');
});
