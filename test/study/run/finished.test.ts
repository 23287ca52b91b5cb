/** `--resume` on a finished run says again what it found, and refuses other settings. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { finishedResult, studyResult } from '../../../src/cli/study-result.ts';
import { InputError } from '../../../src/errors.ts';
import { finishedStudy } from '../../../src/study/run/finished.ts';
import type { StudyResult } from '../../../src/study/run/publish.ts';
import { resolved, run, temporaryFolder, tinyStudy } from './tiny-study.ts';

const folder = temporaryFolder();
const whole = join(folder, 'whole');
const shard = { index: 2, of: 2 };
const part = join(folder, 'part');
const input = tinyStudy({ strategies: ['greedy'], limit: 3 });
let results: { whole: StudyResult; part: StudyResult };
beforeAll(async () => {
  const study = await resolved(input);
  results = { whole: await run(study, whole), part: await run(study, part, { shard }) };
});

let copies = 0;
function changed(change: (copy: string) => void): string {
  const copy = join(folder, `copy-${++copies}`);
  cpSync(whole, copy, { recursive: true });
  change(copy);
  return copy;
}

test('what a finished run found is what it found when it was made, also of a shard', async () => {
  const study = await resolved(input);
  expect(await finishedStudy(whole, study, null)).toEqual(JSON.parse(JSON.stringify(results.whole)));
  expect(await finishedStudy(part, study, shard)).toEqual(results.part);
});

test('a folder without a finished run has nothing to say', async () => {
  const study = await resolved(input);
  expect(await finishedStudy(join(folder, 'nothing'), study, null)).toBeNull();
  const unpublished = changed((copy) => rmSync(join(copy, 'manifest.json')));
  expect(await finishedStudy(unpublished, study, null)).toBeNull();
  // The journal goes last: with it, publication was cut short.
  const unfinished = changed((copy) => writeFileSync(join(copy, 'journal.jsonl'), ''));
  expect(await finishedStudy(unfinished, study, null)).toBeNull();
});

test('other settings are refused with what differs', async () => {
  const other = await resolved({ ...input, maxNewTokens: 11, decodeRows: 2 });
  const refused = finishedStudy(whole, other, null);
  await expect(refused).rejects.toThrow(InputError);
  await expect(refused).rejects.toThrow(
    /^--resume: .*whole holds another finished run: settings\.maxNewTokens was 12, is 11; settings\.decodeRows was 1, is 2$/,
  );
});

test('a shard is not the whole, nor another shard', async () => {
  const study = await resolved(input);
  await expect(finishedStudy(whole, study, shard)).rejects.toThrow(/shard was null, is \{"index":2,"of":2\}$/);
  await expect(finishedStudy(part, study, null)).rejects.toThrow(/shard was \{"index":2,"of":2\}, is null$/);
  await expect(finishedStudy(part, study, { index: 1, of: 2 })).rejects.toThrow(/shard\.index was 2, is 1$/);
});

test.each(['manifest.json', 'controls.json', 'outcomes.json'])('a damaged %s is refused by its name', async (name) => {
  const study = await resolved(input);
  const cut = changed((copy) => writeFileSync(join(copy, name), readFileSync(join(copy, name)).subarray(0, 100)));
  await expect(finishedStudy(cut, study, null)).rejects.toThrow(`${name}: cannot be read as JSON`);
  const other = changed((copy) => writeFileSync(join(copy, name), '{}'));
  await expect(finishedStudy(other, study, null)).rejects.toThrow(`${name}: is not what a study writes`);
});

test('a file that was removed, or is a folder by now, is named: each of a whole run, and the units of a shard', async () => {
  const study = await resolved(input);
  const names = readdirSync(whole).filter((name) => name !== 'manifest.json');
  expect(names).toHaveLength(13);
  for (const name of names) {
    const gone = changed((copy) => rmSync(join(copy, name)));
    await expect(finishedStudy(gone, study, null), name).rejects.toThrow(InputError);
    await expect(finishedStudy(gone, study, null)).rejects.toThrow(`${join(gone, name)}: `);
  }
  const folderInstead = changed((copy) => {
    rmSync(join(copy, 'steps.arrow'));
    mkdirSync(join(copy, 'steps.arrow'));
  });
  await expect(finishedStudy(folderInstead, study, null)).rejects.toThrow('steps.arrow: is missing');
  const units = join(folder, 'part-without-units');
  cpSync(part, units, { recursive: true });
  rmSync(join(units, 'units.jsonl'));
  await expect(finishedStudy(units, study, shard)).rejects.toThrow('units.jsonl: is missing');
});

test('a manifest that does not list a table is not a finished run’s', async () => {
  const study = await resolved(input);
  const copy = changed((copy) => {
    const path = join(copy, 'manifest.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"steps.arrow": ', '"stepz.arrow": '));
  });
  await expect(finishedStudy(copy, study, null)).rejects.toThrow('manifest.json: has no rows of steps.arrow');
});

test('without a gate of a group nothing is said', async () => {
  const study = await resolved(input);
  const copy = changed((copy) => writeFileSync(join(copy, 'controls.json'), '{"gates":[]}'));
  await expect(finishedStudy(copy, study, null)).rejects.toThrow(InputError);
  await expect(finishedStudy(copy, study, null)).rejects.toThrow(
    `controls.json: has no gate of ${study.groups[0].name}`,
  );
});

test('what is read again is what was said, and outcomes of another shape are refused', async () => {
  const study = await resolved(input);
  const found = await finishedStudy(whole, study, null);
  if (!found) throw new Error('expected a finished run');
  expect(finishedResult(found, whole)).toEqual(JSON.parse(JSON.stringify(studyResult(results.whole, whole))));
  const outcome = JSON.parse(JSON.stringify(found.outcome));
  const [condition] = outcome.conditions;
  for (const change of [
    { machine: 3 },
    { profiles: 5 },
    { falsification: [{}] },
    { verdicts: [{ claim: 'C1' }] },
    { verdicts: [{ ...outcome.verdicts[0], inputs: null }] },
    { conditions: [{ condition: 'x' }] },
    { conditions: [{ ...condition, results: {} }] },
    { conditions: [{ ...condition, results: { ...condition.results, accuracy: { arms: 1, paired: null } } }] },
    { conditions: [{ ...condition, results: { ...condition.results, placebo: { bins: [[]] } } }] },
  ]) {
    const other = { ...found, outcome: { ...outcome, ...change } };
    expect(() => finishedResult(other, whole), JSON.stringify(change).slice(0, 60)).toThrow(InputError);
    expect(() => finishedResult(other, whole)).toThrow(`${join(whole, 'outcomes.json')}: is not what a study writes`);
  }
});
