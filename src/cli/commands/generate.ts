/** `kvlens generate MODEL`: new tokens of either arm, or of both and where they part. */
import { createHash } from 'node:crypto';
import { exitCodes, InterruptedError } from '../../errors.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { Executor } from '../../model/executor.ts';
import { generate } from '../../model/generate.ts';
import { type ArmText, firstDifference, renderGeneration } from '../../report/terminal/index.ts';
import type { CommandDefinition } from '../command.ts';
import { checkLoads } from '../execution.ts';
import {
  addCommonOptions,
  addOption,
  addPromptOptions,
  OptionValues,
  readPromptSource,
  unusedOptions,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { noteUnlikeKernels, noteUnused, onePrompt, openSubject, promptTarget } from '../subject.ts';
import { choice, integer } from '../values.ts';

const arms = ['cached', 'uncached'] as const;
const used = [
  ...(['precision', 'kernels', 'decodeRows', 'temperature', 'topK', 'topP', 'seed', 'sampler'] as const),
  ...(['threads', 'maxMemory', 'ignoreEos', 'json', 'quiet'] as const),
];

export const generateCommand: CommandDefinition<'generate'> = {
  name: 'generate',
  description: 'new tokens of the cached arm, the uncached arm or both',
  takesModel: true,
  keepsWork: false,
  configure: (command) => {
    addPromptOptions(command, ['prompt', 'tokens']);
    addOption(command, {
      flags: '--arm <ARM>',
      description: 'cached, uncached or both',
      read: choice('arm', [...arms, 'both']),
      fallback: 'cached',
    });
    addOption(command, {
      flags: '--max-new-tokens <N>',
      description: 'new tokens',
      read: integer('max-new-tokens', 1, 1_000_000),
      fallback: 150,
    });
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const values = new OptionValues(command);
    noteUnused(unusedOptions(command, used), 'generate', context, values.flag('quiet'));
    const source = readPromptSource(command);
    const { checkpoint, options } = await openSubject(model, context, command);
    checkLoads(checkpoint, options.policy, options.maxMemory);
    const prompt = onePrompt(source, promptTarget(checkpoint));
    const { policy, kernels, threads, strategy, decodeRows, ignoreEos } = options;
    const maxNewTokens = values.number('maxNewTokens') ?? 150;
    const wanted = arms.filter((arm) => values.text('arm') === arm || values.text('arm') === 'both');
    const executor = new Executor({ checkpoint, policy, kernels, threads });
    const progress = new Progress(context.io, options.quiet);
    const found: {
      arm: 'cached' | 'uncached';
      tokens: number[];
      text: string | null;
      stop: string;
      logits: string[];
    }[] = [];
    if (decodeRows > 1) noteUnlikeKernels(options, context);
    try {
      for (const arm of wanted) {
        const logits: string[] = [];
        const { tokens, stop } = await generate(executor, prompt.tokens, {
          ...{ arm, maxNewTokens, strategy, decodeRows, ignoreEos, promptId: prompt.id, signal: context.signal },
          onStep: (step) => {
            if (wanted.length > 1) logits.push(digestOf(step.logits));
            progress.update({ label: arm, done: step.step + 1, total: maxNewTokens, unit: 'tokens' });
          },
        });
        if (context.signal.aborted) throw new InterruptedError('interrupted');
        found.push({ arm, tokens, text: checkpoint.tokenizer?.decode(tokens) ?? null, stop, logits });
      }
    } finally {
      progress.end();
      await executor.release();
    }
    const step = found.length === 2 ? firstDifference(found[0].tokens, found[1].tokens) : null;
    const agreement =
      found.length === 2 ? { firstDifferent: firstUnlike(found[0].logits, found[1].logits), decodeRows } : null;
    const texts: ArmText[] = found.map(({ arm, tokens, text }) => ({ arm, tokens, text }));
    const result = {
      arms: Object.fromEntries(found.map(({ arm, tokens, text, stop }) => [arm, { tokens, text, stop }])),
      diverged: found.length === 2 ? step !== null : null,
      firstDivergentStep: step,
      firstDifferentLogits: agreement?.firstDifferent ?? null,
      prompt: { id: prompt.id, tokens: prompt.tokens },
    };
    const tokenText = (token: number) => checkpoint.tokenizer?.token(token) ?? null;
    return { result, text: renderGeneration(texts, tokenText, context.io, agreement), exitCode: exitCodes.ok };
  },
};

/** Logits of one step, as what can be kept of every step of a large vocabulary. */
function digestOf({ buffer, byteOffset, byteLength }: FloatArray): string {
  return createHash('sha256')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex');
}

/** First step of both whose digests differ. */
function firstUnlike(a: readonly string[], b: readonly string[]): number | null {
  const step = a.findIndex((digest, i) => i < b.length && digest !== b[i]);
  return step < 0 ? null : step;
}
