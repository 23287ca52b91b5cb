/** From the MODEL argument and the options to what a command computes with: checkpoint, prompts, notes on stderr. */
import { realpathSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import { embeddedModels, resolveModel } from '../checkpoint/embedded.ts';
import { checkFiniteWeights } from '../checkpoint/finite-weights.ts';
import { openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { UsageError } from '../errors.ts';
import { checkSlices } from '../graph/kernels.ts';
import { openGraphFolder } from '../store/graph-folder.ts';
import { type Prompt, type PromptTarget, promptFromText, promptFromTokens, readPromptFile } from '../study/prompts.ts';
import type { Context } from './command.ts';
import { type CommonOptions, checkThreads, type PromptSource, readCommonOptions } from './options.ts';

/** Prompts of an embedded model that run when none are given. */
const defaultPrompts = 100;

/** A model as the command line names it. */
export interface Subject {
  checkpoint: Checkpoint;
  /** The embedded model's prompt file, or null for a folder. */
  prompts: string | null;
  /** The options, with the policy and the preset of an exported graph folder. */
  options: CommonOptions;
}

/**
 * Open MODEL.
 * @throws InputError if it is no model, UsageError if a graph folder was exported with other settings than are asked for, or the
 * kernels do not fit the model.
 */
export async function openSubject(model: string, { io }: Context, command: Command): Promise<Subject> {
  const options = readCommonOptions(command);
  const resolved = resolveModel(model);
  if (resolved.kind === 'graph') {
    const { checkpoint, policy, kernels } = await openGraphFolder(resolved.dir);
    const given = { precision: options.policy.name, kernels: options.kernels.name };
    const exported = { precision: policy.name, kernels: kernels.name };
    for (const name of ['precision', 'kernels'] as const) {
      if (command.getOptionValueSource(name) !== 'cli' || given[name] === exported[name]) continue;
      throw new UsageError(
        `--${name}: found ${given[name]}, but ${model} was exported with ${exported[name]}`,
        `name the checkpoint itself to run it with another --${name}`,
      );
    }
    checkThreads(kernels, options.threads);
    const embedded = embeddedModels().find(({ dir }) => realpathSync(dir) === realpathSync(checkpoint.dir));
    return { checkpoint, prompts: embedded?.prompts ?? null, options: { ...options, policy, kernels } };
  }
  const name = resolved.name === undefined ? {} : { name: resolved.name };
  const checkpoint = await openCheckpoint(resolved.dir, name);
  checkFiniteWeights(checkpoint);
  if (checkpoint.unknownConfigKeys.length > 0 && !options.quiet) {
    io.err(
      `note: ${checkpoint.name}/config.json: unknown keys, not used: ${checkpoint.unknownConfigKeys.join(', ')}\n`,
    );
  }
  const { unusedTensors } = checkpoint;
  if (unusedTensors.length > 0 && !options.quiet) {
    const shown = unusedTensors.slice(0, 3).join(', ') + (unusedTensors.length > 3 ? ', …' : '');
    io.err(`note: ${checkpoint.name}: ${unusedTensors.length} tensors are not used: ${shown}\n`);
  }
  checkSlices(options.kernels, checkpoint.config);
  return { checkpoint, prompts: resolved.embedded?.prompts ?? null, options };
}

/** What prompts of this checkpoint must fit. */
export function promptTarget({ tokenizer, config }: Checkpoint): PromptTarget {
  return { tokenizer, vocabSize: config.vocabSize, maxPositions: config.maxPositions };
}

/**
 * The prompts that were asked for; without any, an embedded model's first 100.
 * @throws UsageError if a folder is given without prompts, InputError for prompts that do not fit.
 */
export function readPrompts(subject: Subject, source: PromptSource, options: CommonOptions): Prompt[] {
  const target = promptTarget(subject.checkpoint);
  if (source.prompt !== null || source.tokens !== null) return [onePrompt(source, target)];
  const file = source.prompts ?? subject.prompts;
  if (file === null) {
    const names = embeddedModels().map(({ name }) => name);
    throw new UsageError(
      `MODEL "${subject.checkpoint.dir}" has no prompts of its own, expected --prompts, --prompt or --tokens`,
      names.length > 0 ? `embedded models have: ${names.join(', ')}` : undefined,
    );
  }
  const { template, fewShot } = options;
  const limit = options.limit ?? (source.prompts === null ? defaultPrompts : null);
  return readPromptFile(file, { template, fewShot, limit }, target);
}

/** The prompt of `--prompt` or `--tokens`. @throws UsageError if neither is given. */
export function onePrompt({ prompt, tokens }: PromptSource, target: PromptTarget): Prompt {
  if (prompt !== null) return promptFromText(prompt, target);
  if (tokens !== null) return promptFromTokens(tokens, target);
  throw new UsageError('found no prompt, expected --prompt TEXT or --tokens IDS');
}

/** Say which common options a command makes no use of. */
export function noteUnused(unused: readonly string[], command: string, { io }: Context, quiet: boolean): void {
  if (unused.length > 0 && !quiet) io.err(`note: no effect on ${command}: ${unused.join(', ')}\n`);
}

/** Say why several rows per decode step will not give the uncached arm's bits, where they will not. */
export function noteUnlikeKernels({ policy, kernels, quiet }: CommonOptions, { io }: Context): void {
  const why =
    policy.compute === 'float64'
      ? `in ${policy.name} the runtime's softmax depends on the number of rows`
      : isDeepStrictEqual(kernels.decode, kernels.prefill)
        ? null
        : `the decode kernel of ${kernels.name} is another one than the prefill's`;
  if (why !== null && !quiet) io.err(`note: --decode-rows does not give the uncached arm's bits: ${why}\n`);
}
