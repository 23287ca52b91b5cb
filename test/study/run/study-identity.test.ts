/** What makes a study another one: everything that can change a byte of it. */
import { appendFileSync, cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { differences } from '../../../src/store/journal-file.ts';
import type { StudyInput } from '../../../src/study/definition/schema.ts';
import { studyIdentity } from '../../../src/study/run/study-identity.ts';
import { resolved, temporaryFolder, tinyStudy } from './tiny-study.ts';

const input = tinyStudy();
const identityOf = async (changes: Partial<StudyInput> = {}) => studyIdentity(await resolved({ ...input, ...changes }));
const own = await identityOf();
const changedKeys = async (changes: Partial<StudyInput>) =>
  [
    ...new Set(differences(own, await identityOf(changes)).map((line) => line.split(' was ')[0].replace(/\[.*/, ''))),
  ].sort();

test('the same study has the same identity', async () => {
  expect(await identityOf()).toEqual(own);
});

const fewShot = join(temporaryFolder(), 'few.jsonl');
writeFileSync(fewShot, '{"question":"1 + 1?","answer":"#### 2"}\n{"question":"1 + 2?","answer":"#### 3"}\n');
const model = input.models[0] as string;

test.each<[string, Partial<StudyInput>, string[]]>([
  ['template', { prompts: { ...input.prompts, template: 'Q {question}' } }, ['template']],
  ['delimiter', { prompts: { ...input.prompts, delimiter: ' ' } }, ['delimiter']],
  ['seed', { seed: 3 }, ['factors.strategies']],
  ['new tokens', { maxNewTokens: 9 }, ['settings.maxNewTokens']],
  ['end token', { ignoreEos: false }, ['settings.ignoreEos']],
  ['stop sequences', { answers: { stop: ['Q:'] } }, ['settings.answers.stop']],
  ['placebo', { placebo: { arms: 3 } }, ['settings.placebo.arms']],
])('another %s is another study', async (_, changes, keys) => {
  expect(await changedKeys(changes)).toEqual(keys);
});

test('so are fewer prompts, though each is the same', async () => {
  expect(await changedKeys({ prompts: { ...input.prompts, limit: 4 } })).toEqual([
    'limit',
    `prompts.${model.split('/').at(-1)}`,
    `sha256.models.${model.split('/').at(-1)}.prompts`,
  ]);
});

test('so are other given tokens, though ids and questions are the same', async () => {
  const lines = (next: number) => `{"id":"a","tokens":[1,2,3],"continuation":[4,${next}]}\n`;
  const file = join(temporaryFolder(), 'given.jsonl');
  const found = async (next: number) => {
    writeFileSync(file, lines(next));
    return identityOf({ prompts: { file } });
  };
  const [first, same, other] = [await found(5), await found(5), await found(6)];
  expect(same).toEqual(first);
  expect(differences(first, other).map((line) => line.split(' was ')[0])).toEqual([
    `sha256.models.${model.split('/').at(-1)}.prompts`,
  ]);
});

test('so are other gold answers, though what is asked is the same', async () => {
  const file = join(temporaryFolder(), 'gold.jsonl');
  const found = async (gold: number) => {
    writeFileSync(file, `{"id":"a","tokens":[1,2,3],"answer":"#### ${gold}"}\n`);
    return identityOf({ prompts: { file } });
  };
  expect(differences(await found(5), await found(6)).map((line) => line.split(' was ')[0])).toEqual([
    `sha256.models.${model.split('/').at(-1)}.prompts`,
  ]);
});

test('so is another tokenizer', async () => {
  const copy = join(temporaryFolder(), 'copy');
  cpSync(embeddedModels()[0].dir, copy, { recursive: true });
  const own = () => identityOf({ models: [copy], prompts: { limit: 1 } });
  const before = await own();
  appendFileSync(join(copy, 'tokenizer.json'), '\n');
  expect(differences(before, await own()).map((line) => line.split(' was ')[0])).toEqual([
    'sha256.models.copy.tokenizer',
  ]);
});

test('so are other worked examples, and other weights of the same shape', async () => {
  const shown = { prompts: { ...input.prompts, fewShot: { file: fewShot } } };
  const first = await identityOf(shown);
  expect(first.fewShot).toEqual({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/), count: null, seed: null });
  expect((await identityOf({ prompts: { ...input.prompts, fewShot: { file: fewShot, count: 1 } } })).fewShot).toEqual({
    ...(first.fewShot as object),
    count: 1,
  });
  const drawn = (seed: number) =>
    identityOf({ prompts: { ...input.prompts, fewShot: { file: fewShot, count: 1, seed } } });
  expect(differences(await drawn(0), await drawn(1))).toEqual(['fewShot.seed was 0, is 1']);
  appendFileSync(fewShot, '{"question":"1 + 3?","answer":"#### 4"}\n');
  expect((await identityOf(shown)).fewShot).not.toEqual(first.fewShot);

  const weights = join(model, readdirSync(model).find((name) => name.endsWith('.safetensors'))!);
  const bytes = readFileSync(weights);
  bytes[bytes.length - 2] ^= 1;
  writeFileSync(weights, bytes);
  expect(await changedKeys({})).toEqual([`sha256.models.${model.split('/').at(-1)}.checkpoint`]);
});
