/** Where a run comes from, as its manifest says. */
import { describe, expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { readProvenance } from '../../../src/report/data/provenance.ts';
import { tablesOfRows } from '../tables-of-rows.ts';

const read = (value: unknown) =>
  readProvenance({ ...tablesOfRows({}), json: async (name) => (name === 'manifest' ? value : null) });
const of = (identity: object, provenance?: object) =>
  read({ schemaVersion: 1, identity: { command: 'diverge', ...identity }, ...(provenance ? { provenance } : {}) });

describe('the command', () => {
  test('is what was typed, as a shell takes it', async () => {
    const typed = ['kvlens', 'diverge', 'mini', '--prompt', "it's $HOME\n", '--hooks', '*', '--x=a/b:1,2+3%', ''];
    expect((await of({}, { command: typed })).command).toBe(
      `kvlens diverge mini --prompt 'it'\\''s $HOME\n' --hooks '*' --x=a/b:1,2+3% ''`,
    );
  });

  test('is the kind of run where the manifest has none', async () => {
    expect(await of({})).toMatchObject({ kind: 'diverge', command: 'kvlens diverge', rows: [] });
  });
});

test('facts are in the order of the manifest: text as it is, anything else as JSON; the command is none', async () => {
  const { facts } = await of({ model: 'm', threads: 2, sha256: { graph: 'ab' }, oracle: null });
  expect(facts).toEqual([
    { name: 'model', value: 'm' },
    { name: 'threads', value: '2' },
    { name: 'sha256', value: '{"graph":"ab"}' },
    { name: 'oracle', value: 'null' },
  ]);
});

test('rows are by file', async () => {
  expect((await of({}, { rows: { 'steps.arrow': 12 } })).rows).toEqual([{ file: 'steps.arrow', rows: '12' }]);
});

test.each<[string, object, number]>([
  ['none', {}, 0],
  ['an empty list', { plantedFaults: [] }, 0],
  ['two of a run', { plantedFaults: [{}, {}] }, 2],
  ['a study that plants', { settings: { plant: { at: 1 } } }, 1],
  ['a study that does not', { settings: { plant: null } }, 0],
])('planted faults: %s', async (_, identity, planted) => {
  expect((await of(identity)).planted).toBe(planted);
});

test.each<[string, unknown, RegExp]>([
  ['no manifest', null, /^manifest\.json: its content: /],
  ['a text', 'x', /^manifest\.json: its content: /],
  ['no version', { identity: { command: 'x' } }, /^manifest\.json: schemaVersion: /],
  ['no identity', { schemaVersion: 1 }, /^manifest\.json: identity: /],
  ['no command', { schemaVersion: 1, identity: {} }, /^manifest\.json: identity\.command: /],
  [
    'a command that is one text',
    { schemaVersion: 1, identity: { command: 'x' }, provenance: { command: 'kvlens' } },
    /^manifest\.json: provenance\.command: /,
  ],
  [
    'faults that are no list',
    { schemaVersion: 1, identity: { command: 'x', plantedFaults: 2 } },
    /^manifest\.json: identity\.plantedFaults: /,
  ],
])('%s is refused in one line that names the field', async (_, value, says) => {
  const error = await read(value).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  expect(error).toMatchObject({ message: expect.stringMatching(says), hint: 'it is no manifest of kvlens' });
  expect(String(error)).not.toContain('\n');
});
