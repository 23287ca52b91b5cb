/** Generation: what llama2.c published for stories260K, and what ends it. */
import { afterAll, describe, expect, test } from 'vitest';
import { Model } from '../../src/model/model.ts';
import { resolveStrategy } from '../../src/model/sampling/index.ts';
import { sharedPath } from '../shared.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

/** 200 tokens of `run stories260K.bin -t 0.0`, as llama2.c's own tests expect them. */
const published = `Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with your ball, but I can't find it."
Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
Lily didn't want to help her mom, so she`;

const stories = sharedPath('data', 'models', 'stories260K');

describe.skipIf(stories === null)('stories260K', () => {
  test('tokenises as llama2.c does', async () => {
    const model = await Model.open(String(stories));
    expect(model.toTokens('Once upon a time')).toEqual([1, 403, 407, 261, 378]);
  });

  test.each(['fp32', 'fp16'])('%s tells the published story in both arms', async (precision) => {
    const model = await Model.open(String(stories), { precision });
    for (const arm of ['cached', 'uncached'] as const) {
      const { tokens, stop } = await model.generate([1], { arm, maxNewTokens: 200 });
      expect(tokens.slice(0, 17)).toEqual([
        403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401,
      ]);
      expect(model.toText(tokens)).toBe(published);
      expect({ length: tokens.length, stop }).toEqual({ length: 200, stop: 'length' });
    }
    await model.release();
  });
});

describe('a small model', () => {
  const dir = writeTinyCheckpoint();
  afterAll(() => removeCheckpoint(dir));
  const open = () => Model.open(dir, { precision: 'fp32' });

  test('the cached arm that recomputes every row is the uncached arm', async () => {
    const model = await open();
    const strategy = resolveStrategy({ temperature: 1, seed: 3 });
    const options = { maxNewTokens: 20, strategy, ignoreEos: true };
    const uncached = await model.generate([1, 2, 3], { ...options, arm: 'uncached' });
    const all = await model.generate([1, 2, 3], { ...options, decodeRows: 1000 });
    expect(all).toEqual(uncached);
    expect(new Set(all.tokens).size).toBeGreaterThan(5);
  });

  test('the end token is kept and ends it, unless it is ignored', async () => {
    const model = await open();
    const strategy = resolveStrategy({ temperature: 1000, seed: 1 });
    const options = { maxNewTokens: 60, strategy };
    const draw = (seed: number, ignoreEos: boolean) =>
      model.generate([1], { ...options, promptId: `p${seed}`, ignoreEos });
    const seeds = Array.from({ length: 8 }, (_, seed) => seed);
    const ended = await Promise.all(seeds.map((seed) => draw(seed, false)));
    const stopped = ended.findIndex(({ stop }) => stop === 'eos');
    expect(stopped).toBeGreaterThanOrEqual(0);
    expect(ended[stopped].tokens.at(-1)).toBe(2);
    const ignoring = await draw(stopped, true);
    expect(ignoring.tokens.slice(0, ended[stopped].tokens.length)).toEqual(ended[stopped].tokens);
    expect(ignoring).toMatchObject({ stop: 'length', tokens: { length: 60 } });
  });

  test('NaN logits end it with one line', async () => {
    const broken = writeTinyCheckpoint({
      edit: (key, values) => {
        if (key.includes('up_proj') || key.includes('down_proj')) values.fill(1e30);
      },
    });
    try {
      const model = await Model.open(broken, { precision: 'fp32' });
      await expect(model.generate([1, 2], { maxNewTokens: 3 })).rejects.toThrow(/^step 0: the logits are NaN/);
    } finally {
      removeCheckpoint(broken);
    }
  });

  test('the context ends it with one token more than fits', async () => {
    const model = await open();
    const { tokens, stop } = await model.generate(Array(60).fill(1), { maxNewTokens: 100, ignoreEos: true });
    expect({ count: tokens.length, stop }).toEqual({ count: 5, stop: 'length' });
  });
});
