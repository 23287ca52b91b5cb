/** A run with planted faults says so wherever it is named, in every way to run. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Fault } from '../../src/model/faults.ts';
import { ensureBuilt, kvlens, temporaryFolder } from '../cli/kvlens.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { column, contents, prompts, run, type TestRun } from './run.ts';

const dir = writeTinyCheckpoint({ attention: 'gqa' });
const temporary = temporaryFolder();
const made: TestRun[] = [];
afterAll(() => {
  for (const one of made) one.remove();
  removeCheckpoint(dir);
});
const start = async (options: Parameters<typeof run>[1]) => {
  const one = await run(dir, { decodeRows: 2, ...options });
  made.push(one);
  return one;
};

const scale: Fault = { kind: 'scale-row', component: 'k', layer: 1, head: 1, row: 3, factor: 1 + 2 ** -8 };
const words = 'K row 3 of block 1, head 1 scaled by 1.00390625';

describe('a run with a planted fault', () => {
  test('names it in its summary, its manifest and its condition; an honest run names none', async () => {
    const [planted, honest] = [await start({ faults: [scale] }), await start({})];
    expect(planted.summary.planted).toEqual([words]);
    expect(honest.summary.planted).toEqual([]);
    const identity = (path: string) => JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8')).identity;
    expect(identity(planted.path).plantedFaults).toEqual([scale]);
    expect(Object.keys(identity(honest.path))).not.toContain('plantedFaults');
    const [name] = column(await planted.table('steps'), 'condition');
    expect(name).toContain(`planted: ${words}`);
    expect(column(await honest.table('steps'), 'condition')[0]).not.toContain('planted');
  });

  test('fails no gate, finds the fault where honest order-matched decoding finds nothing', async () => {
    const [planted, honest] = [await start({ faults: [scale] }), await start({})];
    expect(honest.summary.verdict).toBe('equal');
    expect(planted.summary.gates).toEqual(honest.summary.gates);
    // The prompt's row 3 is history from step 1 on.
    expect(planted.summary.firstDivergence).toMatchObject({
      hook: 'blocks.1.attn.hook_cache_k',
      step: 1,
      layer: 1,
      head: 1,
    });
  });

  test('gives the same bytes layer by layer', async () => {
    const continuation = [9, 70, 33, 12, 5];
    const given = prompts([1, 17, 5, 88, 42]).map((prompt) => ({ ...prompt, continuation }));
    const faults: Fault[] = [
      scale,
      { kind: 'position', step: 2, offset: 1 },
      { kind: 'mask', step: 3, change: 'hide-newest' },
      { kind: 'store', component: 'v', type: 'bf16' },
    ];
    const settings = { prompts: given, faults, mode: 'teacher-forced' as const };
    const [resident, byLayer] = [await start(settings), await start({ ...settings, execution: 'by-layer' })];
    for (const name of ['steps.arrow', 'layers.arrow']) {
      expect(contents(join(byLayer.path, name)).equals(contents(join(resident.path, name))), name).toBe(true);
    }
    expect(resident.summary.differingSteps).toBe(4);
  });
});

test('--plant is carried to workers, shown in the run line, and refused with the name of its field', async () => {
  ensureBuilt();
  const folder = temporary;
  const [file, questions] = ['plant.json', 'prompts.jsonl'].map((name) => join(folder, name));
  writeFileSync(file, JSON.stringify([scale]));
  writeFileSync(questions, '{"tokens": [1, 17, 5, 88, 42]}\n{"tokens": [1, 9, 63, 30, 2]}\n');
  const command = ['diverge', dir, '--prompts', questions, '--max-new-tokens', '4', '--decode-rows', '2'];
  const options = [...command, '--workers', '2', '--quiet', '--plant', file, '--out'];
  const text = await kvlens([...options, join(folder, 'out-1')]);
  expect(text.stdout.replaceAll(/\s+/g, ' ')).toContain(`PLANTED FAULT in the cached arm: ${words}`);
  expect(text.stdout).not.toContain('removed by');
  const json = await kvlens([...options, join(folder, 'out-2'), '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({
    ...{ planted: [words], firstDivergence: { layer: 1, head: 1 }, steps: 6, differingSteps: 6 },
  });
  writeFileSync(file, JSON.stringify([{ ...scale, layer: 7 }]));
  const refused = await kvlens([...options, join(folder, 'out-3')]);
  expect(refused.code).toBe(3);
  expect(refused.stderr).toContain(`${file}: 0.layer: found 7, expected 0 … 1`);
});
