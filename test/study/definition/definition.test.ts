/** Study files: what they may say, what becomes of it, and what is refused in one line. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { crossFactors } from '../../../src/study/definition/factors.ts';
import { resolveStudy } from '../../../src/study/definition/resolve.ts';
import { parseStudy, readStudy, type StudyInput } from '../../../src/study/definition/schema.ts';
import { resolveStudyStrategy } from '../../../src/study/definition/strategies.ts';
import { shippedStudies, shippedStudy } from '../../../src/study/definition/studies.ts';
import { temporaryFolder } from '../../store/folder.ts';

const small = { name: 'small', models: ['mini-llama'], prompts: { limit: 2 } } satisfies StudyInput;
const resolved = (fields: object = {}) => resolveStudy(parseStudy({ ...small, ...fields }, 'S'), 'S');

describe('conditions', () => {
  test('are every combination, nested so that graphs are shared by neighbours', async () => {
    const study = await resolved({
      models: ['mini-llama', 'mini-gemma2'],
      precisions: ['fp16', 'fp32'],
      kernels: ['ort', 'folded'],
      padding: [0, 3],
      strategies: ['greedy', 't0.7-p0.9'],
    });
    expect(study.conditions).toHaveLength(2 * 2 * 2 * 2 * 2);
    expect(study.conditions.map(({ index }) => index)).toEqual(study.conditions.map((_, i) => i));
    expect(study.conditions.slice(0, 5).map(({ name }) => name)).toEqual([
      'mini-llama/fp16/ort/greedy',
      'mini-llama/fp16/ort/t0.7-p0.9',
      'mini-llama/fp16/ort/greedy/padding-3',
      'mini-llama/fp16/ort/t0.7-p0.9/padding-3',
      'mini-llama/fp16/folded/greedy',
    ]);
    expect(new Set(study.conditions.map(({ name }) => name)).size).toBe(study.conditions.length);
    // A group is a run of neighbours: its graphs are loaded once.
    const starts = study.groupOf.filter((group, i) => group !== study.groupOf[i - 1]);
    expect(starts).toEqual(study.groups.map(({ index }) => index));
  });

  test('come out the same from the factors of a manifest', async () => {
    const study = await resolved({ precisions: ['fp16', 'bf16'], strategies: ['greedy', 't1.0-k50-unkeyed'] });
    const { conditions, groups, groupOf } = crossFactors(JSON.parse(JSON.stringify(study.factors)));
    expect({ conditions, groups, groupOf }).toEqual({
      conditions: study.conditions,
      groups: study.groups,
      groupOf: study.groupOf,
    });
  });

  test('of a model whose K/V heads are repeated are of another model', async () => {
    const study = await resolved({ models: ['mini-mistral', { model: 'mini-mistral', expandKv: true }] });
    expect(study.factors.models.map(({ name, config }) => [name, config.kvHeads])).toEqual([
      ['mini-mistral', 2],
      ['mini-mistral (expanded KV)', 8],
    ]);
  });
});

describe('strategies', () => {
  const strategy = (entry: Parameters<typeof resolveStudyStrategy>[0]) => resolveStudyStrategy(entry, 7, 'S');
  test.each([
    ['greedy', { kind: 'greedy' }, 'keyed'],
    ['t0.7-p0.9', { kind: 'sample', temperature: 0.7, topK: null, topP: 0.9, seed: 7, sampler: 'gumbel' }, 'keyed'],
    ['t1.0-k50', { kind: 'sample', temperature: 1, topK: 50, topP: null, seed: 7, sampler: 'gumbel' }, 'keyed'],
    [
      't1.0-k50-p0.5-inverse-cdf-unkeyed',
      { kind: 'sample', temperature: 1, topK: 50, topP: 0.5, seed: 7, sampler: 'inverse-cdf' },
      'independent',
    ],
  ])('%s is its own name', (name, options, coupling) => {
    expect(strategy(name)).toEqual({ name, strategy: options, coupling });
  });

  test('numbers and names say the same', () => {
    const numbers = { temperature: 0.7, topP: 0.9, sampler: 'gumbel', coupling: 'keyed' } as const;
    expect(strategy(numbers)).toEqual(strategy('t0.7-p0.9'));
    expect(strategy({ ...numbers, temperature: 0 })).toEqual(strategy('greedy'));
  });

  test.each([
    '',
    't',
    'T0.7',
    't0.7-k0',
    't0.7-p1.5',
    't0.7-p0',
    't-1',
    't0.7-unkeyed-k5',
    't0.7 ',
    'beam',
    `t${'9'.repeat(400)}`,
  ])('%j is refused', (name) => {
    expect(() => strategy(name)).toThrow(InputError);
    expect(() => strategy(name)).toThrow(/^S: strategies: found /);
  });
});

describe('a study file', () => {
  test('has every default filled in', () => {
    const study = parseStudy(small, 'S');
    expect(study.strategies).toEqual(['greedy', 't0.7-p0.9', 't1.0-k50']);
    expect(study.arms).toEqual(['cached', 'uncached', 'order-matched']);
    expect(study.placebo.arms).toBeGreaterThanOrEqual(19);
  });

  test.each<[string, object, RegExp]>([
    ['an unknown field', { modells: [] }, /^S: modells: found \[\], which is no field of a study$/],
    ['no model', { models: [] }, /^S: models: found \[\], expected at least one entry$/],
    [
      'too many placebo arms',
      { placebo: { arms: 1e9 } },
      /^S: placebo\.arms: found 1000000000, expected at most 1000$/,
    ],
    [
      'a temperature beyond all numbers',
      { strategies: [{ temperature: Number.POSITIVE_INFINITY }] },
      /^S: strategies\[0\]: found \{"temperature":Infinity\}, expected "greedy", a name such as/,
    ],

    ['one arm', { arms: ['cached'] }, /^S: arms: .*expected "cached" and "uncached" among them$/],
    ['a template without question', { prompts: { template: 'x' } }, /^S: prompts\.template: found "x", expected/],
    ['a share beyond 1', { plant: { faults: [], share: 2 } }, /^S: plant\./],
    ['a strategy twice', { strategies: ['greedy', 'greedy'] }, /^S: strategies: .*expected each entry once$/],
    ['a limit of 0', { prompts: { limit: 0 } }, /^S: prompts\.limit: found 0, expected/],
    ['a temperature of 0', { temperatures: [0] }, /^S: temperatures\[0\]: found 0, expected a number above 0$/],
    [
      'a seed without a count',
      { prompts: { fewShot: { file: 'f', seed: 1 } } },
      /^S: prompts\.fewShot: .*"count" beside "seed"$/,
    ],
    [
      'an unknown fault',
      { plant: { faults: [{ kind: 'x' }] } },
      /^S: plant\.faults\[0\]\.kind: found "x", expected 'scale-row'/,
    ],
    ['another type', { precisions: 'fp16' }, /^S: precisions: found "fp16", expected a list$/],
  ])('with %s is refused in one line', (_, fields, message) => {
    expect(() => parseStudy({ ...small, ...fields }, 'S')).toThrow(InputError);
    expect(() => parseStudy({ ...small, ...fields }, 'S')).toThrow(message);
  });

  test.each<[string, object, RegExp]>([
    ['an unknown model', { models: ['mini-lama'] }, /^S: models: .*"mini-lama" is neither/],
    [
      'an unknown precision',
      { precisions: ['fp17'] },
      /^S: precisions: found "fp17", expected fp32, fp16, .* or a FILE\.json$/,
    ],
    [
      'a precision that every object has',
      { precisions: ['constructor'] },
      /^S: precisions: found "constructor", expected fp32/,
    ],
    ['a preset that every object has', { kernels: ['constructor'] }, /^S: kernels: found "constructor", expected ort/],
    ['an unknown preset', { kernels: ['ortt'] }, /^S: kernels: found "ortt", expected ort, .* or a FILE\.json$/],
    ['two names for one strategy', { strategies: ['greedy', 't0.0'] }, /strategies: found two named "greedy"/],
    ['threads that a preset forbids', { kernels: ['ort-unpacked'], threads: 2 }, /^S: threads: found 2/],
    ['a patched strategy it lacks', { patching: { strategies: ['t9.0'] } }, /patching\.strategies: found "t9\.0"/],
    [
      'a fault in a layer the model lacks',
      { plant: { faults: [{ kind: 'stale-row', component: 'k', layer: 60, row: 3 }] } },
      /layer: found 60/,
    ],
    ['prompts that are not there', { prompts: { file: '/nowhere/x.jsonl' } }, /\/nowhere\/x\.jsonl/],
  ])('that names %s is refused', async (_, fields, message) => {
    await expect(resolved(fields)).rejects.toThrow(message);
    await expect(resolved(fields)).rejects.toBeInstanceOf(InputError);
  });

  test('lists within lists, deeper than a call stack, are refused in one line', () => {
    const deep: unknown = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000));
    expect(() => parseStudy(deep, 'S')).toThrow(/^S: the study: found a list, expected an object$/);
  });

  test('worked examples are drawn anew for each prompt where a seed is given', async () => {
    const file = join(temporaryFolder(), 'few.jsonl');
    const example = (i: number) => JSON.stringify({ question: `${i} + 1?`, answer: `#### ${i + 1}` });
    writeFileSync(file, Array.from({ length: 9 }, (_, i) => example(i)).join('\n'));
    const shown = async (fewShot: object) => {
      const study = await resolved({ prompts: { limit: 4, fewShot: { file, count: 1, ...fewShot } } });
      return study.models.get('mini-llama')!.prompts.map(({ text }) => text?.split('\n')[0]);
    };
    expect(new Set(await shown({}))).toEqual(new Set(['0 + 1?']));
    const drawn = await shown({ seed: 0 });
    expect(new Set(drawn).size).toBeGreaterThan(1);
    expect(await shown({ seed: 0 })).toEqual(drawn);
    expect(await shown({ seed: 1 })).not.toEqual(drawn);
  });

  test('finds the files it names from its own folder', async () => {
    const folder = join(temporaryFolder(), 'studies');
    mkdirSync(folder);
    writeFileSync(join(folder, 'two.jsonl'), '{"prompt": "a"}\n{"prompt": "b"}\n');
    writeFileSync(join(folder, 'half.json'), '{"name": "half", "compute": "float32", "default": "f16"}');
    const file = join(folder, 'study.json');
    writeFileSync(
      file,
      JSON.stringify({ name: 's', models: ['mini-llama'], precisions: ['half.json'], prompts: { file: 'two.jsonl' } }),
    );
    const study = await resolveStudy(readStudy(file), file);
    expect(study.factors.policies.map(({ name }) => name)).toEqual(['half']);
    expect(study.models.get('mini-llama')?.prompts.map(({ text }) => text)).toEqual(['a', 'b']);
  });
});

test('the studies that ship are studies; paper has the nine conditions in fp16 on 200 problems', async () => {
  expect(shippedStudies()).toEqual(expect.arrayContaining(['paper', 'quick']));
  for (const name of shippedStudies())
    expect((await resolveStudy(shippedStudy(name), name)).conditions.length).toBeGreaterThan(0);
  const paper = await resolveStudy(shippedStudy('paper'), 'paper');
  const nine = paper.conditions.filter(({ policy, kernels }) => policy.name === 'fp16' && kernels.name === 'ort');
  expect(nine).toHaveLength(9);
  for (const { prompts } of paper.models.values()) expect(prompts).toHaveLength(200);
});
