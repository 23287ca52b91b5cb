/** The remedy: decoding with two rows per step is recomputation, tokens and logits, bit for bit. */
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels } from '../../src/checkpoint/embedded.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { Executor } from '../../src/model/executor.ts';
import { type GenerateOptions, generate } from '../../src/model/generate.ts';
import { resolveStrategy } from '../../src/model/sampling/index.ts';
import { readPromptFile } from '../../src/study/prompts.ts';

const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.release();
});

function open(checkpoint: Checkpoint, precision: string, kernels = 'ort'): Executor {
  const executor = new Executor({
    ...{ checkpoint, policy: resolvePolicy(precision), kernels: resolveKernels(kernels), threads: 1 },
  });
  executors.push(executor);
  return executor;
}

/** Tokens, and the bytes of every step's logits. */
async function texts(executor: Executor, prompt: readonly number[], options: Omit<GenerateOptions, 'maxNewTokens'>) {
  const logits: Buffer[] = [];
  const { tokens } = await generate(executor, prompt, {
    ...{ maxNewTokens: 24, ignoreEos: true },
    ...options,
    onStep: (step) => logits.push(Buffer.from(step.logits.slice().buffer)),
  });
  return { tokens, logits: Buffer.concat(logits) };
}

const greedy = resolveStrategy({});
const strategies = {
  greedy,
  't0.7-p0.9': resolveStrategy({ temperature: 0.7, topP: 0.9, seed: 1 }),
  't1.0-k50': resolveStrategy({ temperature: 1, topK: 50, seed: 2 }),
};

describe.each(embeddedModels())('$name', async ({ dir, name, prompts: file }) => {
  const checkpoint = await openCheckpoint(dir, { name });
  const { config, tokenizer } = checkpoint;
  const target = { tokenizer, vocabSize: config.vocabSize, maxPositions: config.maxPositions };
  const [{ tokens: prompt }] = readPromptFile(file!, { template: '{question}\n', fewShot: null, limit: 1 }, target);

  test.each(['fp32', 'fp16', 'bf16'])(
    "%s: two rows per step give the uncached arm's tokens and logits",
    async (precision) => {
      const executor = open(checkpoint, precision);
      const seen = new Set<string>();
      for (const strategy of Object.values(strategies)) {
        const uncached = await texts(executor, prompt, { arm: 'uncached', strategy });
        const matched = await texts(executor, prompt, { decodeRows: 2, strategy });
        expect(matched.tokens).toEqual(uncached.tokens);
        expect(matched.logits.equals(uncached.logits)).toBe(true);
        seen.add(uncached.tokens.join());
      }
      expect(seen.size).toBeGreaterThan(1);
    },
  );

  test.each(['ort-unpacked', 'folded'])('%s, fp16: so they do', async (kernels) => {
    const executor = open(checkpoint, 'fp16', kernels);
    const uncached = await texts(executor, prompt, { arm: 'uncached', strategy: greedy });
    const matched = await texts(executor, prompt, { decodeRows: 2, strategy: greedy });
    expect(matched.tokens).toEqual(uncached.tokens);
    expect(matched.logits.equals(uncached.logits)).toBe(true);
  });

  test('one row does not, in fp32: there is something to remedy', async () => {
    const executor = open(checkpoint, 'fp32');
    const uncached = await texts(executor, prompt, { arm: 'uncached', strategy: greedy });
    const one = await texts(executor, prompt, { decodeRows: 1, strategy: greedy });
    expect(one.logits.equals(uncached.logits)).toBe(false);
  });

  test('nor do two rows under a decode kernel that slices its sums', async () => {
    const executor = open(checkpoint, 'fp32', 'split-k:4:fp32');
    const uncached = await texts(executor, prompt, { arm: 'uncached', strategy: greedy });
    const two = await texts(executor, prompt, { decodeRows: 2, strategy: greedy });
    expect(two.logits.equals(uncached.logits)).toBe(false);
  });
});
