/** One prompt through both arms: protocols, ends, the stand-in's spot checks, and the first divergence by name. */
import { afterAll, describe, expect, test } from 'vitest';
import { Aggregate } from '../../src/divergence/aggregate.ts';
import { type PromptInput, type PromptRunOptions, runPrompt } from '../../src/divergence/prompt-run.ts';
import type { PromptResult, Protocol } from '../../src/divergence/rows.ts';
import { hookName, selectHooks } from '../../src/graph/hooks.ts';
import { Executor, type ExecutorOptions } from '../../src/model/executor.ts';
import type { Fault } from '../../src/model/faults.ts';
import { generate } from '../../src/model/generate.ts';
import { resolveStrategy, type Strategy } from '../../src/model/sampling/index.ts';
import { removeCheckpoint, type TinyOptions, writeTinyCheckpoint } from '../tiny-checkpoint.ts';
import { RestlessExecutor } from './gates/faulty-executors.ts';
import { DecodesWith, executorOptions, LosesOldRow, nudge, WrongLogitsOnce, WrongStandIn } from './planted.ts';

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

/** Decode steps run with some weights scaled. */
async function decodesWith(edited: (key: string) => boolean, scale: number, tiny: TinyOptions = {}) {
  const executor = open(DecodesWith, await executorOptions(checkpoint(tiny)));
  const edit = (key: string, values: Float64Array) => {
    if (edited(key)) values.set(values.map((value) => value * scale));
  };
  executor.other = new Executor(await executorOptions(checkpoint({ ...tiny, edit })));
  return executor;
}

const tokens = [1, 17, 5, 88, 42, 42, 7];
const last = tokens.length - 1;
const prompt: PromptInput = { id: 'p', index: 3, tokens, continuation: null };
const greedy: Strategy = { kind: 'greedy' };

function run(
  executor: Executor,
  {
    continuation = null,
    promptTokens = tokens,
    ...options
  }: Partial<PromptRunOptions> & {
    continuation?: number[] | null;
    promptTokens?: number[];
  } = {},
): Promise<PromptResult> {
  const settings: PromptRunOptions = {
    ...{ executor, oracle: null, strategy: greedy, hooks: selectHooks('all', executor.config) },
    ...{ mode: 'both', decodeRows: 1, maxNewTokens: 12, ignoreEos: true },
    ...{ uncachedPlan: 'recompute', saveActivations: false },
    ...options,
  };
  return runPrompt(settings, { ...prompt, tokens: promptTokens, continuation });
}

const rowsOf = ({ steps }: PromptResult, protocol: Protocol) => steps.filter((row) => row.protocol === protocol);
const plain = open(Executor, await executorOptions(checkpoint({ attention: 'gqa' }), 'fp16'));
/** Decodes with a scaled MLP: the arms part within a few tokens. */
const parting = await decodesWith((key) => key.includes('down_proj'), 1.2);

describe('teacher-forced on a forced continuation', () => {
  const continuation = [9, 2, 2, 70, 33]; // two end tokens among them
  test('the run has its length, its tokens and no other protocol', async () => {
    const result = await run(parting, { continuation, ignoreEos: false, maxNewTokens: 2 });
    expect(result.steps.map(({ step, position, protocol }) => [step, position, protocol])).toEqual(
      continuation.map((_, step) => [step, last + step, 'teacher-forced']),
    );
    expect([result.tokensUncached, result.tokensCached]).toEqual([continuation, continuation]);
    for (const row of result.steps) {
      expect(row.flip).toBe(row.tokenCached !== row.tokenUncached);
      expect(row.divergedBefore).toBe(false);
    }
  });

  test('each choice is what generation would choose after the forced tokens before it', async () => {
    const { steps } = await run(parting, { continuation });
    for (const { step, tokenUncached } of steps) {
      const before = [...tokens, ...continuation.slice(0, step)];
      const { tokens: next } = await generate(parting, before, { arm: 'uncached', maxNewTokens: 1, ignoreEos: true });
      expect(next).toEqual([tokenUncached]);
    }
  });
});

describe('free running', () => {
  const sampled = resolveStrategy({ temperature: 1, topK: undefined, topP: undefined, seed: 7 });
  test.each([
    ['greedy, one row', greedy, 1],
    ['greedy, three rows', greedy, 3],
    ['sampled, one row', sampled, 1],
    ['sampled, two rows', sampled, 2],
  ])('%s: teacher-forced up to the first flip, its own tokens after it', async (_, strategy, decodeRows) => {
    const result = await run(parting, { strategy, decodeRows, maxNewTokens: 20 });
    const forced = rowsOf(result, 'teacher-forced');
    const free = rowsOf(result, 'free-running');
    const flip = forced.findIndex((row) => row.flip);
    expect(forced).toHaveLength(20);
    expect(flip).toBeGreaterThan(0);
    expect(flip).toBeLessThan(17);
    const common = free.slice(0, flip + 1).map((row) => ({ ...row, protocol: 'teacher-forced' }));
    expect(common).toEqual(forced.slice(0, flip + 1));
    expect(free.map(({ step, position }) => position - step)).toEqual(forced.map(() => last));
    for (const row of free.slice(flip + 1)) expect(row).toMatchObject({ flip: null, divergedBefore: true });
    // Generation, which knows nothing of teacher forcing, gives the same texts.
    const own = async (arm: 'cached' | 'uncached') =>
      (
        await generate(parting, tokens, {
          ...{ arm, strategy, decodeRows, promptId: prompt.id, maxNewTokens: 20, ignoreEos: true },
        })
      ).tokens;
    expect(result.tokensUncached).toEqual(await own('uncached'));
    expect(result.tokensCached).toEqual(await own('cached'));
    expect(free.map((row) => row.tokenCached)).toEqual(result.tokensCached);
    expect(free.map((row) => row.tokenUncached)).toEqual(result.tokensUncached);
    expect(result.tokensCached).not.toEqual(result.tokensUncached);
  });

  test('without a flip both protocols have the same rows, and both arms one text', async () => {
    const result = await run(plain, { decodeRows: 2 });
    const free = rowsOf(result, 'free-running').map((row) => ({ ...row, protocol: 'teacher-forced' }));
    expect(free).toEqual(rowsOf(result, 'teacher-forced'));
    expect(result.tokensCached).toEqual(result.tokensUncached);
  });

  test.each(['teacher-forced', 'free-running'] as const)(
    'mode %s gives those rows of both, and no other',
    async (mode) => {
      const both = await run(parting);
      const one = await run(parting, { mode });
      expect(one.steps).toEqual(rowsOf(both, mode));
      expect(one.layers.length).toBe(mode === 'free-running' ? 0 : both.layers.length);
    },
  );
});

test('mode free-running counts no more differing steps than steps', async () => {
  const aggregate = new Aggregate({
    ...{
      model: 'm',
      precision: 'fp32',
      kernels: 'ort',
      matchedKernels: 'ort',
      emulated: false,
      strategy: 'greedy',
      decodeRows: 1,
      unit: 'f32',
      layers: 2,
    },
    tokenText: () => null,
  });
  aggregate.add(await run(parting, { mode: 'free-running', maxNewTokens: 20 }));
  const { steps, differingSteps } = aggregate.summary([]);
  expect(differingSteps).toBeLessThanOrEqual(steps);
});

/** Teacher-forced steps in which something differs; step 0 does not count. */
function differingSteps({ steps }: PromptResult): number {
  return steps.filter(({ protocol, step, differs }) => protocol === 'teacher-forced' && step > 0 && differs).length;
}

describe('step 0', () => {
  test('is written, is the same in both arms, and is no differing step', async () => {
    const result = await run(parting);
    expect(result.steps[0]).toMatchObject({ step: 0, position: last, flip: false, logits: { nDiffer: 0, kl: 0 } });
    const first = result.layers.filter((row) => row.step === 0);
    expect(first).toHaveLength(selectHooks('all', { layers: 2, modelType: 'llama' }).length);
    for (const { statistics, added } of first) expect([statistics.n_differ, added]).toEqual([0, null]);
    const differing = new Set(result.layers.filter((row) => row.statistics.n_differ > 0).map((row) => row.step));
    expect(differingSteps(result)).toBe(differing.size);
    expect(differing.size).toBe(11);
  });

  test('does not count as a differing step even where it differs', async () => {
    const restless = open(RestlessExecutor, await executorOptions(checkpoint()));
    const result = await run(restless, { maxNewTokens: 1 });
    const { origins, steps } = result;
    expect(steps.map((row) => row.step)).toEqual([0, 0]);
    expect(origins[0].step).toBe(0);
    expect(differingSteps(result)).toBe(0);
  });
});

describe('the end', () => {
  const ending = async (executor: Executor, token: number) => {
    const { options } = executor;
    const config = { ...options.checkpoint.config, eosTokenIds: [token] };
    return open(Executor, { ...options, checkpoint: { ...options.checkpoint, config } });
  };

  test('an end token ends the prompt, and is its last token; told to ignore it, the run goes on', async () => {
    const { tokensUncached: text } = await run(plain);
    const at = text.findIndex((token, i) => i >= 2 && text.indexOf(token) === i);
    expect(at).toBeGreaterThan(0);
    const executor = await ending(plain, text[at]);
    const short = await run(executor, { ignoreEos: false });
    expect(short.tokensUncached).toEqual(text.slice(0, at + 1));
    expect(rowsOf(short, 'teacher-forced')).toHaveLength(at + 1);
    const long = await run(executor, { ignoreEos: true });
    expect(long.tokensUncached).toEqual(text);
  });

  test('an end token of the cached arm alone ends its text: that is a divergence', async () => {
    const { tokensCached, tokensUncached } = await run(parting, { maxNewTokens: 20 });
    const flip = tokensCached.findIndex((token, step) => token !== tokensUncached[step]);
    const end = tokensCached[flip];
    expect(tokensUncached.slice(0, flip + 1)).not.toContain(end);
    const executor = await decodesWith((key) => key.includes('down_proj'), 1.2);
    executor.config.eosTokenIds.splice(0, 1, end);
    const result = await run(executor, { maxNewTokens: 20, ignoreEos: false });
    expect(result.tokensCached).toEqual(tokensCached.slice(0, flip + 1));
    expect(rowsOf(result, 'free-running')).toHaveLength(flip + 1);
    expect(result.tokensUncached.length).toBeGreaterThan(flip + 1);
  });

  test.each([
    [8, 1],
    [7, 2],
    [5, 4],
    [1, 8],
  ])('a prompt of %d tokens in a context of 8 gives %d steps', async (length, steps) => {
    const executor = open(Executor, await executorOptions(checkpoint({ maxPositions: 8 })));
    const promptTokens = [...tokens, 30].slice(0, length);
    for (const uncachedPlan of ['recompute', 'stand-in'] as const) {
      const result = await run(executor, { promptTokens, uncachedPlan });
      expect(rowsOf(result, 'teacher-forced')).toHaveLength(steps);
      expect(result.tokensUncached).toHaveLength(steps);
      expect(result.spotChecks.failed).toBe(0);
    }
  });
});

describe('the stand-in', () => {
  const bare = ({ spotChecks: _, recomputed: __, ...rest }: PromptResult) => rest;

  test.each([1, 2, 3])('with %d decode rows gives every row that full recomputation gives', async (decodeRows) => {
    const honest = await run(plain, { decodeRows, uncachedPlan: 'recompute', saveActivations: true });
    const standIn = await run(plain, { decodeRows, uncachedPlan: 'stand-in', saveActivations: true });
    expect(standIn).toMatchObject({ recomputed: false, spotChecks: { failed: 0 } });
    expect(standIn.spotChecks.steps).toBeGreaterThan(0);
    expect(honest).toMatchObject({ recomputed: true, spotChecks: { steps: 0, failed: 0 } });
    expect(bare(standIn)).toEqual(bare(honest));
  });

  test.each([0, 1])(
    'that writes other K rows is discarded with %d forced steps to hide in, and recomputed',
    async (extra) => {
      const continuation = [9, 70, ...[33, 12, 5, 64].slice(0, 4 * extra)];
      const options = plain.options;
      const found = await run(open(WrongStandIn, options), { continuation, uncachedPlan: 'stand-in' });
      expect(found.recomputed).toBe(true);
      expect(found.spotChecks.failed).toBeGreaterThan(0);
      expect(bare(found)).toEqual(bare(await run(plain, { continuation })));
    },
  );

  const wrongOnce = open(WrongLogitsOnce, plain.options);
  test.each([0, 1, 2, 5])('a wrong last step of %d forced ones after the first is found', async (steps) => {
    const continuation = [9, 70, 33, 12, 5, 64].slice(0, steps + 1);
    wrongOnce.at = last + steps;
    const found = await run(wrongOnce, { continuation, uncachedPlan: 'stand-in' });
    // Step 0 is no stand-in: it is computed honestly and stays right.
    expect(found.spotChecks.failed > 0).toBe(steps > 0);
    expect(found.recomputed).toBe(steps > 0);
    expect(bare(found)).toEqual(bare(await run(plain, { continuation })));
  });

  test('that gives wrong logits at any single step is discarded', async () => {
    const continuation = [9, 70, 33, 12, 5, 64, 21, 80];
    const unnoticed: number[] = [];
    for (let step = 1; step < continuation.length; step++) {
      wrongOnce.at = last + step;
      const { recomputed } = await run(wrongOnce, { continuation, uncachedPlan: 'stand-in', hooks: [] });
      if (!recomputed) unnoticed.push(step);
    }
    expect(unnoticed).toEqual([]);
  });
});

/** Passes over several rows without a past come out wrong, or not: in one row of the K rows of block 1, or of the logits. */
class WrongForward extends Executor {
  wrong: { rows: number; row: number; what: 'keys' | 'logits' } | null = null;

  override async block(...step: Parameters<Executor['block']>): ReturnType<Executor['block']> {
    const output = await super.block(...step);
    const [layer, , rows, , kernel] = step;
    if (this.wrong?.what !== 'keys' || layer !== 1 || kernel !== 'prefill' || rows.count !== this.wrong.rows)
      return output;
    const keys = output.keys.slice();
    keys[(this.wrong.row * keys.length) / rows.count] *= nudge;
    return { ...output, keys };
  }

  override async unembed(...step: Parameters<Executor['unembed']>): ReturnType<Executor['unembed']> {
    const found = await super.unembed(...step);
    const [, count, kernel] = step;
    if (this.wrong?.what !== 'logits' || kernel !== 'prefill' || count !== this.wrong.rows) return found;
    const logits = found.get('logits')!;
    const data = logits.data.slice();
    data[(this.wrong.row * data.length) / count] *= nudge;
    return found.set('logits', { ...logits, data });
  }
}

describe('one forward over given tokens', () => {
  const bare = ({ spotChecks: _, recomputed: __, ...rest }: PromptResult) => rest;
  const continuation = [9, 70, 33, 12, 5, 64, 21, 80];
  const rows = tokens.length + continuation.length;

  test.each([1, 2, 3])('with %d decode rows gives every row that full recomputation gives', async (decodeRows) => {
    const options = { continuation, decodeRows, saveActivations: true };
    const honest = await run(plain, { ...options, uncachedPlan: 'recompute' });
    const before = plain.passes.unembed.list().find((pass) => pass.rows === rows)?.count ?? 0;
    const found = await run(plain, { ...options, uncachedPlan: 'forward' });
    const after = plain.passes.unembed.list().find((pass) => pass.rows === rows)?.count ?? 0;
    expect(found).toMatchObject({ recomputed: false, spotChecks: { failed: 0 } });
    // Three steps drawn by the prompt's id and the last one, which may be among them.
    expect(found.spotChecks.steps).toBeGreaterThanOrEqual(3);
    expect(found.spotChecks.steps).toBeLessThanOrEqual(4);
    expect(after - before).toBe(1);
    expect(bare(found)).toEqual(bare(honest));
  });

  test.each([
    [1, [9]],
    [1, [9, 70, 33]],
    [2, [9]],
    [2, [9, 70]],
  ])('a prompt of %d tokens with %j after it', async (length, forced) => {
    const options = { promptTokens: tokens.slice(0, length), continuation: forced };
    const found = await run(plain, { ...options, uncachedPlan: 'forward' });
    expect(found.recomputed).toBe(false);
    expect(bare(found)).toEqual(bare(await run(plain, options)));
  });

  test('a text that fills the context leaves no room for a token more', async () => {
    const short = open(
      Executor,
      await executorOptions(checkpoint({ attention: 'gqa', maxPositions: rows - 1 }), 'fp16'),
    );
    const found = await run(short, { continuation, uncachedPlan: 'forward' });
    expect(short.passes.unembed.list()).toContainEqual(expect.objectContaining({ rows: rows - 1, past: 0 }));
    expect(found.recomputed).toBe(false);
    expect(bare(found)).toEqual(bare(await run(short, { continuation })));
  });

  test('a prompt that chooses its own tokens goes through the stand-in', async () => {
    const found = await run(plain, { uncachedPlan: 'forward' });
    expect(found).toEqual(await run(plain, { uncachedPlan: 'stand-in' }));
  });

  test('what a check finds wrong is discarded, and the prompt recomputed in full', async () => {
    const expected = bare(await run(plain, { continuation }));
    const found = async (row: number, what: 'keys' | 'logits') => {
      const wrong = open(WrongForward, plain.options);
      const options = { continuation, uncachedPlan: 'forward' } as const;
      wrong.wrong = { rows, row, what };
      const result = await run(wrong, options);
      expect(result.recomputed).toBe(result.spotChecks.failed > 0);
      if (result.recomputed) expect(bare(result)).toEqual(expected);
      return result.recomputed;
    };
    // K rows of the prompt are read in every step that is checked.
    for (const row of [0, last]) expect(await found(row, 'keys')).toBe(true);
    const noticed: boolean[] = [];
    for (let row = tokens.length; row < rows - 1; row++) noticed.push(await found(row, 'logits'));
    // Of the steps after the first: the last, and three that are drawn.
    expect(noticed.at(-1)).toBe(true);
    expect(noticed.filter((seen) => seen).length).toBeGreaterThanOrEqual(3);
    expect(noticed.filter((seen) => seen).length).toBeLessThanOrEqual(4);
  });
});

describe('the first divergence', () => {
  const attention = 'gqa';
  const names = ({ origins }: PromptResult) => origins.map(({ hook }) => hook);
  const layer1 = (part: string) => `model.layers.1.${part}.weight`;
  const hooks = (...kinds: string[]) => kinds.map((kind) => hookName(kind, 1));

  test.each([
    ['model.embed_tokens.weight', hooks('embed')],
    [layer1('input_layernorm'), hooks('attn.q', 'attn.k', 'attn.v')],
    [layer1('self_attn.q_proj'), hooks('attn.q')],
    [layer1('self_attn.k_proj'), hooks('attn.k')],
    [layer1('self_attn.v_proj'), hooks('attn.v')],
    [layer1('self_attn.o_proj'), hooks('attn_out')],
    [layer1('post_attention_layernorm'), hooks('mlp.pre', 'mlp.pre_linear')],
    [layer1('mlp.gate_proj'), hooks('mlp.pre')],
    [layer1('mlp.up_proj'), hooks('mlp.pre_linear')],
    [layer1('mlp.down_proj'), hooks('mlp_out')],
    ['model.norm.weight', hooks('unembed.out')],
    ['lm_head.weight', hooks('unembed.out')],
  ])('%s, changed in decode steps, is found at %s and nowhere else', async (key, expected) => {
    const executor = await decodesWith((name) => name === key, nudge, { attention });
    const result = await run(executor, { decodeRows: 2, maxNewTokens: 4, mode: 'teacher-forced', hooks: [] });
    expect(names(result)).toEqual(expected);
    expect(result.origins[0]).toMatchObject({ prompt: 'p', promptIndex: 3, step: 1, readsCache: false });
    expect(result.origins[0].operation).toMatch(/embedding|projection|unembedding/);
  });

  test('one head of a projection is named by its number, with its elements and ulps', async () => {
    const edit = (key: string, values: Float64Array) => {
      // q_proj is [head · d_head, d_model]: one element of head 2.
      if (key === layer1('self_attn.q_proj')) for (let i = 0; i < 64; i++) values[(2 * 16 + 5) * 64 + i] *= nudge;
    };
    const executor = open(DecodesWith, await executorOptions(checkpoint({ attention })));
    executor.other = new Executor(await executorOptions(checkpoint({ attention, edit })));
    const { origins } = await run(executor, { decodeRows: 2, maxNewTokens: 4 });
    expect(origins).toHaveLength(1);
    expect(origins[0]).toMatchObject({ hook: hookName('attn.q', 1), layer: 1, head: 2, nDiffer: 1, nElements: 64 });
    // 2^-7 of a float32 is between 2^16 and 2^17 units; the sum's rounding adds a few.
    expect(origins[0].maxUlp).toBeGreaterThanOrEqual(2 ** 16 - 16);
    expect(origins[0].maxUlp).toBeLessThanOrEqual(2 ** 17 + 16);
  });

  test.each(['recompute', 'stand-in'] as const)(
    'a row the cache never got is an origin there (%s)',
    async (uncachedPlan) => {
      const faults: Fault[] = [{ kind: 'stale-row', component: 'k', layer: 1, row: 9 }];
      const result = await run(plain, { decodeRows: 2, uncachedPlan, faults });
      // Row 9 is run by the steps of positions 9 and 10; the next one reads it.
      expect(result.origins).toEqual([
        expect.objectContaining({ hook: hookName('attn.cache_k', 1), step: 11 - last, layer: 1, head: 0 }),
      ]);
      expect(result.spotChecks.failed).toBe(0);
    },
  );

  const loses = async (uncachedPlan: PromptRunOptions['uncachedPlan']) => {
    const result = await run(open(LosesOldRow, plain.options), { decodeRows: 2, uncachedPlan });
    expect(differingSteps(result)).toBeGreaterThan(0);
    return result.origins.map(({ hook, step }) => [hook, step]);
  };
  const lost = [[hookName('attn.cache_k', 1), 12 - last]];
  test('an old row the cache loses is an origin there (recompute)', async () => {
    expect(await loses('recompute')).toEqual(lost);
  });
  test('an old row the cache loses is an origin there (stand-in)', async () => {
    expect(await loses('stand-in')).toEqual(lost);
  });

  test('what agrees everywhere has none', async () => {
    const result = await run(plain, { decodeRows: 2 });
    expect(result.origins).toEqual([]);
    expect(differingSteps(result)).toBe(0);
  });
});
