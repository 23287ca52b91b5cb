/** The experiments of `kvlens patch`: what each refuses, runs and shows. */
import type { Checkpoint } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { attribute } from '../patching/attribution/run/attribute.ts';
import type { ExperimentOptions } from '../patching/run/experiment.ts';
import { patch } from '../patching/run/patch.ts';
import { checkAttribution } from '../patching/specification/attribution-spec.ts';
import type { CleanCorruptedSpec } from '../patching/specification/clean-corrupted.ts';
import { resolveSpec } from '../patching/specification/resolve.ts';
import type { PatchSpec } from '../patching/specification/spec.ts';
import { renderAttribution, renderPatch, type TerminalOptions } from '../report/terminal/index.ts';
import type { Prompt } from '../study/prompts.ts';
import { attributionResult } from './attribution-result.ts';
import type { Result } from './contract.ts';
import type { CommonOptions } from './options.ts';
import { patchResult } from './patch-result.ts';

/** `--plant` with a spec of another experiment than `arms`. */
export function plantsNothing({ experiment }: PatchSpec): UsageError {
  return new UsageError(
    `--plant: found with experiment "${experiment}", expected "arms": faults are planted in the cached arm of a 2×2 or a grid`,
  );
}

/** A spec that runs on prompts which the command line gives. */
export type PromptSpec = Exclude<PatchSpec, CleanCorruptedSpec>;

/**
 * Before anything is made: what a spec cannot do with this model under these options.
 * @param source where the spec comes from, for errors
 * @throws InputError for what the model does not have, UsageError for options that do not go with the spec
 */
export function checkSpec(spec: PromptSpec, source: string, checkpoint: Checkpoint, options: CommonOptions): void {
  switch (spec.experiment) {
    case 'arms':
      ofSpec(source, () => resolveSpec(spec, checkpoint.config, options.kernels));
      return;
    case 'attribution':
      checkAttribution(spec, options);
  }
}

/** What is wrong with a spec is wrong in its file. */
export function ofSpec<T>(source: string, resolve: () => T): T {
  try {
    return resolve();
  } catch (error) {
    if (error instanceof UsageError || error instanceof InputError)
      throw new InputError(`${source}: ${error.message}`, error.hint);
    throw error;
  }
}

/** The prompts a spec looks at: all, or so many as it says where no `--limit` was given. */
export function promptsOf(spec: PromptSpec, prompts: Prompt[], { limit }: CommonOptions): Prompt[] {
  const most = spec.experiment === 'attribution' && limit === null ? spec.prompts : undefined;
  return most === undefined ? prompts : prompts.slice(0, most);
}

/** Run a spec: the object that `--json` prints, and the text. */
export async function runSpec(
  spec: PromptSpec,
  options: Omit<ExperimentOptions, 'spec'>,
  terminal: TerminalOptions,
): Promise<{ result: Result<'patch'>; text: string }> {
  const run = options.run.path;
  switch (spec.experiment) {
    case 'arms': {
      const summary = await patch({ ...options, spec });
      return { result: patchResult(summary, run), text: renderPatch(summary, { ...terminal, run }) };
    }
    case 'attribution': {
      const summary = await attribute({ ...options, spec });
      return { result: attributionResult(summary, run), text: renderAttribution(summary, { ...terminal, run }) };
    }
  }
}
