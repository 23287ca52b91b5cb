/** What a study asks of a prompt's run beside the comparison of hooks; every figure again from the saved logits of both arms. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { type PromptRunOptions, runPrompt } from '../../src/divergence/prompt-run.ts';
import type { CandidateRecord, PromptResult, StepRecord } from '../../src/divergence/rows.ts';
import { newText } from '../../src/divergence/text-end.ts';
import { type References, referencesOf } from '../../src/divergence/truth-errors.ts';
import { InputError, UsageError } from '../../src/errors.ts';
import { selectHooks } from '../../src/graph/hooks.ts';
import { policies } from '../../src/graph/rounding.ts';
import { Arm } from '../../src/model/arms.ts';
import { captureNothing, Executor, type ExecutorOptions } from '../../src/model/executor.ts';
import type { Fault } from '../../src/model/faults.ts';
import { keyedUniform } from '../../src/model/sampling/choose.ts';
import {
  argmax,
  processedProbabilities,
  type SamplingStrategy,
  type Strategy,
} from '../../src/model/sampling/index.ts';
import { orderMatched } from '../../src/study/order-matched.ts';
import { ensureBuilt } from '../cli/kvlens.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { DecodesWith, executorOptions, StandsInWith } from './planted.ts';

const dist = fileURLToPath(new URL('../../dist', import.meta.url));
const folders: string[] = [];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
  for (const folder of folders) removeCheckpoint(folder);
});

function checkpoint(options: TinyOptions = {}): string {
  const dir = writeTinyCheckpoint(options);
  folders.push(dir);
  return dir;
}

function open<E extends Executor>(Kind: new (options: ExecutorOptions) => E, options: ExecutorOptions): E {
  const executor = new Kind(options);
  executors.push(executor);
  return executor;
}

const tokens = [1, 17, 5, 88, 42, 42, 7];
const greedy: Strategy = { kind: 'greedy' };
const sampled = (change: Partial<SamplingStrategy> = {}): SamplingStrategy => ({
  ...{ kind: 'sample', temperature: 1, topK: null, topP: null, seed: 5, sampler: 'gumbel' },
  ...change,
});

type Change = Partial<PromptRunOptions> & { id?: string; continuation?: number[] | null };

function run(executor: Executor, { id = 'p', continuation = null, ...change }: Change = {}): Promise<PromptResult> {
  const options: PromptRunOptions = {
    ...{ executor, oracle: null, strategy: greedy, hooks: selectHooks('logits', executor.config) },
    ...{ mode: 'both', decodeRows: 1, maxNewTokens: 20, ignoreEos: true },
    ...{ uncachedPlan: 'recompute', saveActivations: true },
    ...change,
  };
  return runPrompt(options, { id, index: 0, tokens, continuation });
}

/** Logits of one arm by teacher-forced step, as the run saved them. */
const logitsOf = ({ activations }: PromptResult, arm: 'cached' | 'uncached') =>
  activations.filter((record) => record.arm === arm && record.kind === 'logits').map(({ value }) => value);
const forcedRows = ({ steps }: PromptResult) => steps.filter(({ protocol }) => protocol === 'teacher-forced');

const options = await executorOptions(checkpoint({ attention: 'gqa' }), 'fp16');
const plain = open(Executor, options);
/** Decodes with a scaled MLP: the arms part within a few tokens. */
const parting = open(DecodesWith, await executorOptions(checkpoint()));
const edit = (key: string, values: Float64Array) => {
  if (key.includes('down_proj')) values.set(values.map((value) => value * 1.2));
};
parting.other = new Executor(await executorOptions(checkpoint({ edit })));

/** Mean-centred L2, straight from its definition. */
function centred(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const difference = Array.from(a, (value, i) => value - b[i]);
  const mean = difference.reduce((sum, value) => sum + value, 0) / difference.length;
  return Math.hypot(...difference.map((value) => value - mean));
}

describe('logits alone', () => {
  test.each(['recompute', 'stand-in'] as const)('give the steps that every hook gives (%s)', async (uncachedPlan) => {
    const change: Change = { uncachedPlan, strategy: sampled({ topK: 30 }), orderMatched: true, temperatures: [0.5] };
    const all = await run(parting, change);
    const logits = await run(parting, { ...change, compare: 'logits' });
    expect(all.steps.some(({ differs }) => differs)).toBe(true);
    expect(logits).toEqual({
      ...all,
      steps: all.steps.map((row) => ({ ...row, differs: null })),
      ...{ layers: [], activations: [], origins: [] },
    });
  });

  test('count what is not finite', async () => {
    const broken = checkpoint({
      edit: (key, values) => {
        if (key === 'lm_head.weight') values[3] = Number.POSITIVE_INFINITY;
      },
    });
    const executor = open(Executor, await executorOptions(broken));
    const { nonfinite } = await run(executor, { compare: 'logits', maxNewTokens: 3, mode: 'teacher-forced' });
    expect(nonfinite).toMatchObject({ elements: 3, hook: 'logits' });
  });
});

describe('references', () => {
  const references: References = {
    single: open(Executor, { ...options, policy: policies.fp32 }),
    double: open(Executor, { ...options, policy: policies.fp64 }),
  };

  test("are the unrounded checkpoint's logits on the uncached arm's tokens", async () => {
    const result = await run(plain, { references });
    const sequence = [...tokens, ...result.tokensUncached];
    for (const which of ['single', 'double'] as const) {
      const arm = Arm.uncached(references[which]!, sequence.length, 'recompute');
      for (const row of forcedRows(result)) {
        const { logits } = await arm.step(sequence.slice(0, tokens.length + row.step), captureNothing);
        const drift = row.drift[which]!;
        expect(drift.cached).toBeCloseTo(centred(logitsOf(result, 'cached')[row.step], logits), 12);
        expect(drift.uncached).toBeCloseTo(centred(logitsOf(result, 'uncached')[row.step], logits), 12);
        expect(drift.uncached).toBeGreaterThan(1e-5);
      }
    }
  });

  test('are left out where the run is the reference itself, whatever its policy is called', async () => {
    const of = (policy: ExecutorOptions['policy']) => {
      const { single, double } = referencesOf(policy, references);
      return [single !== null, double !== null];
    };
    expect(of(policies.fp32)).toEqual([false, true]);
    expect(of({ name: 'mine', compute: 'float32', default: 'bf16', places: {} })).toEqual([true, true]);
    expect(of({ ...policies.fp32, name: 'other', constants: 'f32' })).toEqual([false, true]);
    expect(of(policies.fp64)).toEqual([true, false]);
  });

  test('say nothing once the arms have parted', async () => {
    const { steps } = await run(parting, { references: { single: null, double: references.double } });
    const free = steps.filter(({ divergedBefore }) => divergedBefore);
    expect(free.length).toBeGreaterThan(0);
    for (const row of free) expect(row.drift).toEqual({ single: null, double: null });
    expect(steps[0].drift).toMatchObject({ single: null, double: { cached: steps[0].drift.double!.uncached } });
  });
});

test('total variation by temperature is that of the raw logits of the steps that count', async () => {
  const temperatures = [0.3, 1, 4];
  const result = await run(parting, { temperatures, strategy: sampled({ topK: 5 }) });
  const [cached, uncached] = [logitsOf(result, 'cached'), logitsOf(result, 'uncached')];
  const expected = temperatures.map((temperature) => {
    const sums = { temperature, tv: 0, upper: 0 };
    for (let step = 1; step < cached.length; step++) {
      const [q, p] = [cached, uncached].map((rows) => processedProbabilities(rows[step], sampled({ temperature })));
      const tv = p.reduce((sum, value, j) => sum + Math.abs(value - q[j]), 0) / 2;
      sums.tv += tv;
      sums.upper += (2 * tv) / (1 + tv);
    }
    return sums;
  });
  result.temperatures.forEach((sums, i) => {
    expect(sums.temperature).toBe(temperatures[i]);
    expect(sums.tv / expected[i].tv).toBeCloseTo(1, 9);
    expect(sums.upper / expected[i].upper).toBeCloseTo(1, 9);
  });
  const rows = forcedRows(result).filter(({ step }) => step > 0);
  expect(result.temperatures[1].tv).toBeCloseTo(
    rows.reduce((sum, { logits }) => sum + logits.tv, 0),
    12,
  );
  const equal = await run(plain, { temperatures, decodeRows: 2 });
  expect(equal.temperatures).toEqual(temperatures.map((temperature) => ({ temperature, tv: 0, upper: 0 })));
});

describe('how a step was decided', () => {
  test('top_shift is what the second of the uncached arm gains on its first', async () => {
    const result = await run(parting);
    const [cached, uncached] = [logitsOf(result, 'cached'), logitsOf(result, 'uncached')];
    for (const { step, logits, marginChoice, boundary } of forcedRows(result)) {
      const order = Array.from(uncached[step].keys()).sort((a, b) => uncached[step][b] - uncached[step][a] || a - b);
      const [shift1, shift2] = order.slice(0, 2).map((token) => cached[step][token] - uncached[step][token]);
      expect(logits.topShift).toBeCloseTo(shift2 - shift1, 12);
      expect(marginChoice).toBe(uncached[step][order[0]] - uncached[step][order[1]]);
      expect(boundary).toBeNull();
    }
    expect(forcedRows(result).some(({ logits }) => logits.topShift !== 0)).toBe(true);
  });

  test("a Gumbel-max choice leads by its perturbed score's lead × temperature", async () => {
    const strategy = sampled({ temperature: 0.7, topK: 12 });
    const result = await run(parting, { strategy });
    const uncached = logitsOf(result, 'uncached');
    for (const { step, marginChoice, tokenUncached } of forcedRows(result)) {
      const kept = processedProbabilities(uncached[step], strategy);
      const draw = keyedUniform(strategy.seed, { prompt: 'p', step });
      // In logits: the temperature multiplies the noise instead of dividing the logits.
      const perturbed = Array.from(uncached[step], (logit, token) =>
        kept[token] > 0 ? logit - strategy.temperature * Math.log(-Math.log(draw(token))) : -Infinity,
      );
      const [first, second] = perturbed.toSorted((a, b) => b - a);
      expect(perturbed.indexOf(first)).toBe(tokenUncached);
      expect(marginChoice).toBeCloseTo(first - second, 5);
    }
  });

  test('inverse-CDF draws have no lead, and a single candidate none either', async () => {
    for (const strategy of [sampled({ sampler: 'inverse-cdf' }), sampled({ topK: 1 })]) {
      for (const row of (await run(plain, { strategy })).steps) expect(row.marginChoice).toBeNull();
    }
  });

  test.each([
    ['gumbel', 3],
    ['gumbel', 1],
    ['inverse-cdf', 2],
  ] as const)('%s, top-%d: the cut decided where a token is outside the other set', async (sampler, topK) => {
    const strategy = sampled({ sampler, topK });
    const result = await run(parting, { strategy, maxNewTokens: 40 });
    const [cached, uncached] = (['cached', 'uncached'] as const).map((arm) =>
      logitsOf(result, arm).map((row) => processedProbabilities(row, strategy)),
    );
    const seen = new Set<boolean | null>();
    for (const { step, boundary, tokenCached, tokenUncached, flip } of forcedRows(result)) {
      expect(boundary).toBe(cached[step][tokenUncached] === 0 || uncached[step][tokenCached] === 0);
      // Of one candidate each, a flip is always the cut's.
      if (topK === 1) expect(boundary).toBe(flip);
      seen.add(boundary);
    }
    expect(seen).toEqual(new Set([true, false]));
    for (const row of result.steps) if (row.divergedBefore) expect(row.boundary).toBeNull();
  });
});

describe('stop sequences', () => {
  /** Token 7k + j is the letter j of a–g. */
  const letters: Checkpoint['tokenizer'] = {
    vocabSize: 96,
    encode: () => [],
    decode: (ids) => ids.map((id) => 'abcdefg'[id % 7]).join(''),
    token: () => null,
    bytes: () => null,
  };
  const reading = (executor: Executor) => ({ ...executor.options.checkpoint, tokenizer: letters });

  test('end a text with the token that completes one, and cut it before', async () => {
    const executor = open(Executor, { ...options, checkpoint: reading(plain) });
    const whole = await run(executor);
    expect(whole.stops).toEqual({ cached: 'limit', uncached: 'limit' });
    const text = newText(letters, whole.tokensUncached);
    const sequence = text.slice(8, 11);
    const at = text.indexOf(sequence);
    for (const compare of ['all', 'logits'] as const) {
      const result = await run(executor, { stop: ['never', sequence], compare });
      expect(result.tokensUncached).toEqual(whole.tokensUncached.slice(0, at + 3));
      expect(result.stops).toEqual({ cached: 'stop-sequence', uncached: 'stop-sequence' });
      expect(forcedRows(result)).toHaveLength(at + 3);
      expect(newText(letters, result.tokensUncached, ['never', sequence])).toBe(text.slice(0, at));
    }
  });

  test('end the text of each arm for itself', async () => {
    const executor = open(DecodesWith, { ...parting.options, checkpoint: reading(parting) });
    executor.other = new Executor(parting.other!.options);
    const whole = await run(executor);
    const texts = [whole.tokensCached, whole.tokensUncached].map((found) => newText(letters, found));
    const part = [...texts[0]].findIndex((letter, i) => letter !== texts[1][i]);
    expect(part).toBeGreaterThan(0);
    // The shortest text of the cached arm alone that ends within it.
    const starts = Array.from({ length: 20 - part - 3 }, (_, i) => texts[0].slice(part + i, part + i + 3));
    const sequence = starts.find((each) => !texts[1].includes(each))!;
    const result = await run(executor, { stop: [sequence] });
    expect(result.stops).toEqual({ cached: 'stop-sequence', uncached: 'limit' });
    expect(result.tokensCached).toEqual(whole.tokensCached.slice(0, texts[0].indexOf(sequence) + 3));
    expect(result.tokensUncached).toEqual(whole.tokensUncached);
  });

  test('are left alone where tokens are forced, need a tokenizer, and are not empty', async () => {
    const executor = open(Executor, { ...options, checkpoint: reading(plain) });
    const forced = await run(executor, { continuation: [7, 14, 21, 28], stop: ['aa'] });
    expect(forced.tokensUncached).toEqual([7, 14, 21, 28]);
    await expect(run(plain, { stop: ['x'] })).rejects.toThrow(InputError);
    await expect(run(executor, { stop: [''] })).rejects.toThrow(UsageError);
  });

  test('the end token, the limit and the context are told apart', async () => {
    const { tokensUncached } = await run(plain);
    const config = { ...options.checkpoint.config, eosTokenIds: [tokensUncached[4]] };
    const ending = open(Executor, { ...options, checkpoint: { ...options.checkpoint, config } });
    const ended = await run(ending, { ignoreEos: false, orderMatched: true });
    expect(ended.stops).toEqual({ cached: 'end', uncached: 'end' });
    expect(ended.orderMatched?.stop).toBe('end');
    expect((await run(plain, { maxNewTokens: 999, compare: 'logits' })).stops.uncached).toBe('context');
    expect((await run(plain, { maxNewTokens: 58, compare: 'logits' })).stops.uncached).toBe('limit');
  });
});

describe('order-matched decoding', () => {
  test('is counted alike under both plans, as over the whole prompt by itself', async () => {
    const result = await run(plain, { orderMatched: true });
    const { orderMatched: standIn } = await run(plain, { orderMatched: true, uncachedPlan: 'stand-in' });
    const read = [...tokens, ...result.tokensUncached.slice(0, -1)];
    const counted = { ...(await orderMatched(plain, read, tokens.length)) };
    expect(result.orderMatched).toEqual({ ...counted, tokens: result.tokensUncached, stop: 'limit' });
    expect(standIn).toEqual(result.orderMatched);
    expect(counted).toEqual({ steps: 19, differingElements: 0, distance: 0 });
    expect((await run(plain)).orderMatched).toBeNull();
  });

  const stale: Fault[] = [{ kind: 'stale-row', component: 'both', layer: 0, row: 3, holds: 1 }];
  const states: [string, Change][] = [
    ['padding', { padding: 9 }],
    ['a stale row', { faults: stale }],
    ['a wrong position', { faults: [{ kind: 'position', step: 4, offset: 1 }] }],
  ];
  test.each(states)('is in the state of the cached arm: %s', async (_, state) => {
    const executor = open(Executor, await executorOptions(checkpoint(), 'fp16'));
    const change: Change = { ...state, compare: 'logits', maxNewTokens: 50, orderMatched: true };
    const found = await run(executor, change);
    // Kernels of decoding and of the prefill are the same here: a cached arm of two rows per step is order-matched decoding.
    const rows = forcedRows(await run(executor, { ...change, decodeRows: 2 })).filter(({ step }) => step > 0);
    const sum = (of: (row: StepRecord) => number) => rows.reduce((total, row) => total + of(row), 0);
    expect(found.orderMatched?.distance).toBeGreaterThan(0);
    expect(found.orderMatched?.distance).toBeCloseTo(
      sum(({ logits }) => logits.l2Centred),
      12,
    );
    expect(found.orderMatched?.differingElements).toBeGreaterThanOrEqual(sum(({ logits }) => logits.nDiffer));
    expect((await run(executor, { ...change, uncachedPlan: 'stand-in' })).orderMatched).toEqual(found.orderMatched);
  });

  test('is counted alike where tokens are given and the uncached arm is one forward', async () => {
    const continuation = [9, 70, 33, 12, 5, 64, 21, 80];
    const found = [];
    for (const uncachedPlan of ['recompute', 'stand-in', 'forward'] as const) {
      found.push((await run(plain, { continuation, uncachedPlan, orderMatched: true })).orderMatched);
    }
    expect(found[0]).toEqual({ steps: 7, differingElements: 0, distance: 0, tokens: continuation, stop: 'limit' });
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  });

  test.each(['recompute', 'stand-in'] as const)(
    'goes on with its own tokens where it differs (%s)',
    async (uncachedPlan) => {
      const wrong = open(StandsInWith, parting.options);
      wrong.other = new Executor(parting.other!.options);
      const result = await run(wrong, { orderMatched: true, uncachedPlan, maxNewTokens: 40 });
      expect(result.recomputed).toBe(true);
      const own = [...tokens];
      const arm = Arm.uncached(wrong, 60, 'stand-in');
      for (let step = 0; step < 40; step++) {
        const { logits } = step === 0 ? await arm.prefill(own, captureNothing) : await arm.step(own, captureNothing);
        own.push(argmax(logits));
      }
      expect(result.orderMatched?.tokens).toEqual(own.slice(tokens.length));
      expect(result.orderMatched?.tokens).not.toEqual(result.tokensUncached);
      expect(result.orderMatched?.differingElements).toBeGreaterThan(0);
      const read = [...tokens, ...result.tokensUncached.slice(0, -1)];
      expect(result.orderMatched).toMatchObject(await orderMatched(wrong, read, tokens.length));
    },
  );
});

describe('independent draws', () => {
  test.each(['gumbel', 'inverse-cdf'] as const)('%s: equal arms flip as often as two draws differ', async (sampler) => {
    const strategy = sampled({ sampler, temperature: 0.8, topK: 20 });
    let [flips, expected, variance] = [0, 0, 0];
    for (let i = 0; i < 20; i++) {
      const result = await run(plain, {
        strategy,
        coupling: 'independent',
        decodeRows: 2,
        id: `p${i}`,
        maxNewTokens: 30,
      });
      const keyed = await run(plain, {
        strategy,
        decodeRows: 2,
        id: `p${i}`,
        maxNewTokens: 30,
        mode: 'teacher-forced',
      });
      expect(result.tokensUncached).toEqual(keyed.tokensUncached);
      expect(keyed.steps.some(({ flip }) => flip)).toBe(false);
      for (const { step, flip } of forcedRows(result)) {
        const p = processedProbabilities(logitsOf(result, 'uncached')[step], strategy);
        const rate = 1 - p.reduce((sum, value) => sum + value * value, 0);
        flips += flip ? 1 : 0;
        expected += rate;
        variance += rate * (1 - rate);
      }
    }
    expect(Math.abs(flips - expected)).toBeLessThan(4 * Math.sqrt(variance));
    expect(variance).toBeGreaterThan(20);
  });

  test('greedy draws nothing, so coupling changes nothing', async () => {
    expect(await run(parting, { coupling: 'independent' })).toEqual(await run(parting));
  });
});

describe('candidates', () => {
  /** What a full sort of the logits says. */
  const expected = (logits: ArrayLike<number>) => {
    const ids = Array.from(logits, (_, id) => id).sort((a, b) => logits[b] - logits[a] || a - b);
    const total = ids.reduce((sum, id) => sum + Math.exp(logits[id]), 0);
    return { tokens: ids.slice(0, 5), probabilities: ids.slice(0, 5).map((id) => Math.exp(logits[id]) / total) };
  };
  const expectCandidates = (row: CandidateRecord, logits: ArrayLike<number>) => {
    const { tokens: ids, probabilities } = expected(logits);
    expect(row.tokens).toEqual(ids);
    for (const [i, probability] of probabilities.entries()) expect(row.probabilities[i]).toBeCloseTo(probability, 12);
  };

  test('of every free-running step: each arm on its own text, to its end', async () => {
    // The arms stop at different lengths.
    for (const stopped of ['cached', 'uncached'] as const) {
      const free = await run(parting, { candidates: 'all' });
      const other = stopped === 'cached' ? free.tokensUncached : free.tokensCached;
      const own = stopped === 'cached' ? free.tokensCached : free.tokensUncached;
      const flip = own.findIndex((token, step) => token !== other[step]);
      const end = own.findIndex((token, step) => step > flip && !other.includes(token));
      const eos = own[end];
      const config = { ...parting.config, eosTokenIds: [eos] };
      const ending = Object.assign(Object.create(parting), { config }) as typeof parting;
      const result = await run(ending, { candidates: 'all', ignoreEos: false });
      const { candidates, tokensCached, tokensUncached } = result;
      expect(tokensCached.length === tokensUncached.length).toBe(false);
      const texts = { cached: tokensCached, uncached: tokensUncached };
      for (const arm of ['cached', 'uncached'] as const) {
        const rows = candidates.filter((row) => row.arm === arm);
        expect(rows.map(({ step }) => step)).toEqual(texts[arm].map((_, step) => step));
        expect(rows.map(({ token }) => token)).toEqual(texts[arm]);
        for (const row of rows) expect(row.tokens[0]).toBe(row.token);
      }
      for (const row of candidates.filter(({ arm, step }) => arm === 'uncached' || step <= flip))
        expectCandidates(row, logitsOf(result, row.arm)[row.step]);
      const order = candidates.map(({ step, arm }) => 2 * step + (arm === 'cached' ? 0 : 1));
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
  });

  test('after the arms have parted, of logits that the cached arm has on its own text', async () => {
    const result = await run(parting, { candidates: 'all' });
    const flip = forcedRows(result).find((row) => row.flip)!.step;
    const forced = await run(parting, { continuation: result.tokensCached });
    const own = logitsOf(forced, 'cached');
    const later = result.candidates.filter(({ arm, step }) => arm === 'cached' && step > flip);
    expect(later.length).toBeGreaterThan(3);
    for (const row of later) expectCandidates(row, own[row.step]);
  });

  test('of the flip alone, and of none, where no more is asked for', async () => {
    const all = (await run(parting, { candidates: 'all' })).candidates;
    const result = await run(parting, { candidates: 'flip' });
    const flip = forcedRows(result).find((row) => row.flip)!.step;
    expect(result.candidates).toEqual(all.filter(({ step }) => step === flip));
    expect(result.candidates.map(({ arm }) => arm)).toEqual(['cached', 'uncached']);
    expect((await run(parting)).candidates).toEqual([]);
    expect((await run(plain, { candidates: 'flip', decodeRows: 2 })).candidates).toEqual([]);
  });

  test('belong to free-running texts: there are none where the tokens are given', async () => {
    expect((await run(parting, { candidates: 'all', mode: 'teacher-forced' })).candidates).toEqual([]);
    expect((await run(parting, { candidates: 'all', continuation: [4, 5, 6] })).candidates).toEqual([]);
    const only = await run(parting, { candidates: 'all', mode: 'free-running' });
    expect(only.candidates).toEqual((await run(parting, { candidates: 'all' })).candidates);
  });

  test('name a sampled choice that is none of them', async () => {
    const { candidates } = await run(plain, { candidates: 'all', strategy: sampled({ temperature: 3 }) });
    expect(candidates.some(({ token, tokens: ids }) => !ids.includes(token))).toBe(true);
    for (const { probabilities } of candidates) expect(Math.max(...probabilities)).toBe(probabilities[0]);
  });
});

test('two worker threads give what one does, whatever a prompt is asked', () => {
  ensureBuilt();
  const script = `
    const [{ openPromptPool }, { embeddedModels }, { resolveKernels }, { policies }] = await Promise.all(
      ['divergence/prompt-runner', 'checkpoint/embedded', 'graph/kernels', 'graph/rounding']
        .map((name) => import(${JSON.stringify(`${dist}/`)} + name + '.js')));
    const prompts = [[1, 17, 5], [1, 9, 30, 41], [1, 44]].map((tokens, index) =>
      ({ id: 'p' + index, index, tokens, continuation: null }));
    const found = [];
    for (const workers of [1, 2]) {
      const pool = openPromptPool({
        checkpoint: { dir: embeddedModels()[0].dir, name: 'mini', expandedKv: false }, policy: policies.bf16, kernels: resolveKernels('split-k:4:storage'),
        strategy: { kind: 'sample', temperature: 1.5, topK: 40, topP: null, seed: 2, sampler: 'gumbel' },
        hooks: 'logits', mode: 'both', decodeRows: 1, maxNewTokens: 16, threads: 1, ignoreEos: false,
        saveActivations: false, uncachedPlan: 'stand-in', compare: 'logits', padding: 5, coupling: 'independent',
        stop: ['.'], temperatures: [0.7, 1], orderMatched: true,
      }, workers);
      const results = [];
      await pool.runInOrder(prompts, (result) => results.push(result));
      await pool.close();
      found.push(results);
    }
    process.stdout.write(JSON.stringify(found));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 });
  const [one, two]: PromptResult[][] = JSON.parse(output.toString());
  expect(two).toEqual(one);
  expect(one.map(({ prompt }) => prompt)).toEqual(['p0', 'p1', 'p2']);
  expect(one.some(({ steps }) => steps.some(({ flip }) => flip))).toBe(true);
});

describe('padding', () => {
  test('is the same mathematics: in fp64 no step differs by more than 1e-12, and no token', async () => {
    for (const uncachedPlan of ['recompute', 'stand-in'] as const) {
      const executor = open(Executor, { ...options, policy: policies.fp64 });
      const change: Change = { compare: 'logits', uncachedPlan, strategy: sampled() };
      const result = await run(executor, { ...change, padding: 9 });
      for (const { logits, flip } of result.steps) {
        expect(logits.l2Centred).toBeLessThan(1e-12);
        expect(flip).toBe(false);
      }
      expect(result.steps.some(({ logits }) => logits.nDiffer > 0)).toBe(true);
    }
  });

  test('of no row is no padding', async () => {
    const change: Change = { compare: 'logits', strategy: sampled({ topP: 0.9 }) };
    expect(await run(parting, { ...change, padding: 0 })).toEqual(await run(parting, change));
  });

  test('is refused where hooks are compared', async () => {
    await expect(run(plain, { padding: 2 })).rejects.toThrow(/padding: found 2 with every hook compared/);
  });
});
