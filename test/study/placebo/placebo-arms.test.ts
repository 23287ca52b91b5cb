/** Permuted arms are what running them honestly gives, and their drift is what the definition says. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../../src/checkpoint/open.ts';
import { type OperationClass, operationClasses, parseKernels, resolveKernels } from '../../../src/graph/kernels.ts';
import { resolvePolicy } from '../../../src/graph/rounding.ts';
import type { FloatArray } from '../../../src/model/arrays.ts';
import { captureNothing, Executor, type StepKernel } from '../../../src/model/executor.ts';
import { forward } from '../../../src/model/plans.ts';
import { chooseToken, type Strategy } from '../../../src/model/sampling/index.ts';
import { checkPlacebo, type PlaceboArmsRequest, placeboArms } from '../../../src/study/placebo/index.ts';
import { placeboBytes } from '../../../src/study/placebo/placebo-bytes.ts';
import { placeboClasses } from '../../../src/study/placebo/placebo-classes.ts';
import { placeboKernel } from '../../../src/study/placebo/placebo-kernel.ts';
import { binUpper, driftBin } from '../../../src/study/unit/unit-summary.ts';
import { executorOptions } from '../../divergence/planted.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../../tiny-checkpoint.ts';

const dirs: string[] = [];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const dir of dirs) removeCheckpoint(dir);
});

function tiny(options: TinyOptions): string {
  const dir = writeTinyCheckpoint(options);
  dirs.push(dir);
  return dir;
}

async function open(dir: string, precision: string, kernels: string): Promise<Executor> {
  const executor = new Executor(await executorOptions(dir, precision, kernels));
  executors.push(executor);
  return executor;
}

/** Every step by itself, over all rows, with nothing but a loop: tokens and logits of an arm running free. */
async function honestArm(executor: Executor, kernel: StepKernel, prompt: readonly number[], of: Text) {
  const tokens = [...prompt];
  const logits: FloatArray[] = [];
  for (let step = 0; step < of.maxNewTokens; step++) {
    const cache = executor.newCache(tokens.length);
    const found = await forward(executor, { tokens, start: 0, cache, kernel, capture: captureNothing });
    logits.push(found.logits!.slice(-executor.config.vocabSize));
    tokens.push(chooseToken(logits[step], of.strategy, { prompt: of.id, step }));
    if (of.ends(tokens.slice(prompt.length))) break;
  }
  return { tokens, logits };
}

interface Text {
  id: string;
  strategy: Strategy;
  maxNewTokens: number;
  ends(newTokens: readonly number[]): boolean;
}

/** An uncached arm that rounds so much that its order of summation decides tokens. */
const slices = { slices: 8, combine: 'storage' };
const coarse = parseKernels(
  { name: 'coarse', prefill: { classes: { qkv: slices, o: slices, mlp: slices, head: slices } }, decode: {} },
  'test',
);

const sampled: Strategy = { kind: 'sample', temperature: 1, topK: null, topP: 0.95, seed: 3, sampler: 'gumbel' };
const endsAt = (token: number) => (tokens: readonly number[]) => tokens.at(-1) === token;

async function request(executor: Executor, prompt: readonly number[], of: Text, classes: readonly OperationClass[]) {
  const { tokens, logits } = await honestArm(executor, 'prefill', prompt, of);
  const found: PlaceboArmsRequest = {
    ...of,
    tokens,
    promptLength: prompt.length,
    logits,
    classes,
    seeds: [1, 2, 3, 4],
  };
  return found;
}

/** What `placeboArms` must give, from honest arms and the definition of the drift. */
async function expected(executor: Executor, of: PlaceboArmsRequest) {
  const prompt = of.tokens.slice(0, of.promptLength);
  const theirs = of.tokens.slice(of.promptLength);
  const found: { tokens: number[][]; divergedAt: (number | null)[]; leans: number[] } = {
    ...{ tokens: [], divergedAt: [], leans: [] },
  };
  for (const seed of of.seeds) {
    const kernel = placeboKernel(executor.kernels, of.classes, seed);
    const arm = await honestArm(executor, kernel, prompt, of);
    const own = arm.tokens.slice(prompt.length);
    const at = theirs.findIndex((token, step) => token !== own[step]);
    found.tokens.push(own);
    found.divergedAt.push(at < 0 ? null : at);
    for (let step = 1; step < theirs.length; step++) {
      const tokens = of.tokens.slice(0, prompt.length + step);
      const cache = executor.newCache(tokens.length);
      const { logits } = await forward(executor, { tokens, start: 0, cache, kernel, capture: captureNothing });
      const [z, p] = [of.logits[step], logits!.slice(-executor.config.vocabSize)];
      const choice = z.indexOf(Math.max(...z));
      found.leans.push(Math.max(...Array.from(z, (_, j) => p[j] - z[j] - (p[choice] - z[choice]))));
    }
  }
  return found;
}

function counts(bins: readonly number[]): [number, number][] {
  const sorted = [...new Set(bins)].sort((a, b) => a - b);
  return sorted.map((bin) => [bin, bins.filter((other) => other === bin).length]);
}

describe('permuted arms are honest recomputation of themselves', () => {
  const prompt = [1, 17, 5, 88, 42, 42, 7, 63, 30, 11];
  const text = { id: 'a', maxNewTokens: 24, ends: endsAt(2) };
  test.each<[string, TinyOptions, string, string, Strategy, number[]]>([
    ['llama', { headDim: 32 }, 'fp16', 'ort', { kind: 'greedy' }, prompt],
    ['mistral', { modelType: 'mistral', attention: 'gqa' }, 'bf16', 'split-k:4:storage', sampled, prompt],
    ['gemma2', { modelType: 'gemma2', attention: 'gqa', seed: 3 }, 'bf16', 'ort', sampled, prompt],
    ['head size 256', { headDim: 256, layers: 1 }, 'bf16', 'ort', sampled, prompt],
    ['a prompt of one token', { attention: 'mqa', seed: 5 }, 'bf16', 'ort', sampled, [1]],
    ['a prompt that leaves one row', { maxPositions: 16 }, 'bf16', 'ort', sampled, [...prompt, 3, 4, 5, 6, 7]],
  ])('%s', async (_, options, precision, kernels, strategy, tokens) => {
    const executor = await open(tiny(options), precision, kernels);
    const most = Math.min(text.maxNewTokens, executor.config.maxPositions - tokens.length + 1);
    const of = await request(executor, tokens, { ...text, strategy, maxNewTokens: most }, operationClasses);
    const honest = await expected(executor, of);
    const found = await placeboArms(executor, of);
    expect(found.tokens).toEqual(honest.tokens);
    expect(found.divergedAt).toEqual(honest.divergedAt);
    expect(found.drift).toEqual(counts(honest.leans.map(driftBin)));
    for (const seed of of.seeds) expect(await checkPlacebo(executor, of, seed)).toMatchObject({ passed: true });
    expect(await placeboArms(executor, { ...of, plan: 'recompute' })).toEqual(found);
  });

  test('texts do part, and an arm that parts goes on by itself to its own end', async () => {
    const executor = new Executor({
      ...(await executorOptions(tiny({ attention: 'gqa', seed: 7 }), 'bf16')),
      kernels: coarse,
    });
    executors.push(executor);
    const parted: (number | null)[] = [];
    for (const id of ['a', 'b', 'c']) {
      const of = await request(executor, prompt, { ...text, id, strategy: sampled }, operationClasses);
      const found = await placeboArms(executor, of);
      expect(found.tokens).toEqual((await expected(executor, of)).tokens);
      parted.push(...found.divergedAt);
    }
    expect(parted.some((step) => step !== null && step > 0)).toBe(true);
  });

  test('a stop sequence ends a text where the caller says', async () => {
    const executor = await open(tiny({ attention: 'gqa', seed: 7 }), 'bf16', 'ort');
    const ends = (tokens: readonly number[]) => tokens.length === 9;
    const of = await request(executor, prompt, { ...text, id: 'b', strategy: sampled, ends }, operationClasses);
    for (const tokens of (await placeboArms(executor, of)).tokens) expect(tokens).toHaveLength(9);
  });
});

test('without a class to permute every arm is the uncached arm, and nothing drifts', async () => {
  const executor = await open(tiny({}), 'fp16', 'ort');
  const of = await request(executor, [1, 5, 9], { id: 'a', maxNewTokens: 9, ends: endsAt(-1), strategy: sampled }, []);
  const found = await placeboArms(executor, of);
  expect(found.divergedAt).toEqual([null, null, null, null]);
  expect(found.tokens).toEqual(of.seeds.map(() => of.tokens.slice(3)));
  expect(found.drift).toEqual([[driftBin(0), 4 * 8]]);
});

test('logits that are not finite bound nothing', async () => {
  const executor = await open(tiny({}), 'fp16', 'ort');
  const of = await request(executor, [1, 5, 9], { id: 'a', maxNewTokens: 2, ends: endsAt(-1), strategy: sampled }, []);
  of.logits[1][7] = Number.NaN;
  const { drift } = await placeboArms(executor, of);
  expect(drift).toHaveLength(1);
  expect(binUpper(drift[0][0])).toBe(Infinity);
  expect(JSON.parse(JSON.stringify(drift))).toEqual(drift);
});

test('the check finds steps of two rows that are not recomputation', async () => {
  class WrongPermuted extends Executor {
    override block(...step: Parameters<Executor['block']>): ReturnType<Executor['block']> {
      const [layer, residual, rows, history, kernel, capture] = step;
      if (rows.start === 0 || typeof kernel === 'string') return super.block(...step);
      const nudged = residual.slice();
      nudged[0] *= 1.5;
      return super.block(layer, nudged, rows, history, kernel, capture);
    }
  }
  const dir = tiny({ attention: 'gqa', seed: 7 });
  const options = { ...(await executorOptions(dir, 'bf16')), kernels: coarse };
  const [right, wrong] = [new Executor(options), new WrongPermuted(options)];
  executors.push(right, wrong);
  const text = { maxNewTokens: 24, ends: endsAt(2), strategy: sampled };
  const results: boolean[] = [];
  for (const id of ['a', 'b', 'c']) {
    const of = await request(right, [1, 17, 5, 88, 42, 42, 7], { ...text, id }, operationClasses);
    const { divergedAt } = await placeboArms(right, of);
    for (const [i, seed] of of.seeds.entries()) {
      const goesOn = divergedAt[i] !== null && divergedAt[i] < 20;
      const { passed } = await checkPlacebo(wrong, of, seed);
      if (goesOn) results.push(passed);
      else if (divergedAt[i] === null) expect(passed).toBe(true);
    }
  }
  expect(results.length).toBeGreaterThan(0);
  expect(results).not.toContain(true);
});

describe.each(embeddedModels())('$name', ({ dir, prompts: file }) => {
  const { question } = JSON.parse(readFileSync(file, 'utf8').split('\n')[0]) as { question: string };
  test.each([
    ['ort', 'fp16'],
    ['split-k:8:storage', 'bf16'],
    ['split-kv:16', 'fp16'],
    ['folded', 'bf16'],
    ['ort-unpacked', 'fp16'],
  ])('%s, %s: a permuted arm is its honest recomputation at every step', async (kernels, precision) => {
    const checkpoint = await openCheckpoint(dir);
    const options = { checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 };
    const executor = new Executor(options);
    const prompt = checkpoint.tokenizer!.encode(`${question}\n`);
    const text = { id: 'p', maxNewTokens: 20, ends: endsAt(executor.config.eosTokenIds[0]) };
    const of = await request(executor, prompt, { ...text, strategy: { kind: 'greedy' } }, operationClasses);
    const check = await checkPlacebo(executor, of, 1);
    expect(check).toMatchObject({ tokensEqual: true, differingSteps: 0, passed: true });
    expect(check.steps).toBe(2 * (of.tokens.length - prompt.length));
    await executor.release();
  });
});

describe('classes', () => {
  test('are those that the decode kernel changes on some prompt, in their order', async () => {
    const executor = await open(tiny({ attention: 'gqa' }), 'fp16', 'split-k:4:storage');
    const input = { id: 'a', index: 0, tokens: [1, 17, 5, 88, 42], continuation: [7, 63, 30, 11, 4, 9] };
    const found = await placeboClasses(executor, [input], { strategy: { kind: 'greedy' }, steps: 5 });
    expect(found).toEqual(operationClasses.filter((name) => found.includes(name)));
    for (const name of ['qkv', 'o', 'mlp', 'head']) expect(found).toContain(name);
    expect(await placeboClasses(executor, [], { strategy: { kind: 'greedy' }, steps: 5 })).toEqual([]);
  });

  test('that change one element of thousands after rounding are found on a few steps', async () => {
    for (const { dir } of embeddedModels()) {
      const executor = await open(dir, 'bf16', 'ort');
      const tokens = Array.from({ length: 24 }, (_, i) => 1 + ((i * 37) % 500));
      const input = { id: 'a', index: 0, tokens, continuation: null };
      const found = await placeboClasses(executor, [input], {
        strategy: { kind: 'greedy' },
        steps: 4,
        ignoreEos: true,
      });
      expect(found).toEqual(['scores', 'values']);
    }
  });

  test('weights of stages that are permuted are counted once per seed', async () => {
    const { checkpoint, policy } = await executorOptions(tiny({ layers: 2 }), 'fp16');
    const { hiddenSize, vocabSize } = checkpoint.config;
    const head = 4 * hiddenSize * vocabSize;
    expect(placeboBytes(checkpoint.config, policy, ['head'], 3)).toBe(3 * head);
    expect(placeboBytes(checkpoint.config, policy, [], 3)).toBe(0);
    const blocks = placeboBytes(checkpoint.config, policy, ['scores'], 1);
    expect(blocks).toBe(placeboBytes(checkpoint.config, policy, ['qkv', 'mlp'], 1));
    expect(placeboBytes(checkpoint.config, policy, operationClasses, 1)).toBe(blocks + head);
  });
});
