/** `kvlens patch MODEL SPEC`: replace values of one arm by another's, and measure what that recovers. */
import { exitCodes } from '../../errors.ts';
import { readFaults } from '../../model/faults.ts';
import type { PatchProgress } from '../../patching/run/experiment.ts';
import { openPatchSpec, shippedSpecs } from '../../patching/specification/spec-files.ts';
import { RunDirectory } from '../../store/run-directory.ts';
import { splitAtPrefill } from '../../study/prompts.ts';
import type { CommandDefinition } from '../command.ts';
import { chooseExecution } from '../execution.ts';
import { checkSpec, plantsNothing, promptsOf, runSpec } from '../experiments.ts';
import {
  addCommonOptions,
  addOption,
  addPromptOptions,
  type CommonName,
  checkResume,
  commonNames,
  OptionValues,
  readPromptSource,
  unusedOptions,
} from '../options.ts';
import { patchTwoPrompts } from '../patch-two-prompts.ts';
import { Progress, type ProgressState } from '../progress.ts';
import { noteUnused, openSubject, readPrompts } from '../subject.ts';
import { integer, nonEmpty } from '../values.ts';

/** Common options that are about prompt files. */
const onlyFiles: readonly CommonName[] = ['template', 'fewShot', 'limit'];

export const patchCommand: CommandDefinition<'patch'> = {
  name: 'patch',
  description: 'replace what one arm computes or reads by what the other did, and measure what that recovers',
  takesModel: true,
  keepsWork: true,
  configure: (command) => {
    command.argument('<SPEC>', `a patch spec: a JSON file, or one of ${shippedSpecs().join(', ')}`);
    addPromptOptions(command, ['prompts', 'prompt', 'tokens']);
    addOption(command, {
      flags: '--prefill <N>',
      description: 'the first N given tokens are the prompt, the rest is the forced continuation',
      read: integer('prefill', 1),
    });
    addOption(command, {
      flags: '--max-new-tokens <N>',
      description: 'new tokens of each prompt',
      read: integer('max-new-tokens', 2, 1_000_000),
      fallback: 150,
    });
    addOption(command, {
      flags: '--plant <FILE>',
      description: 'plant the faults of this JSON file in the cached arm, to see that the cells point at them',
      read: nonEmpty('plant', 'a file'),
    });
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const spec = openPatchSpec(command.args[1]);
    if (spec.experiment === 'clean-corrupted') return patchTwoPrompts(command, model, context, spec);
    const values = new OptionValues(command);
    const source = readPromptSource(command);
    const given = source.prompt !== null || source.tokens !== null ? onlyFiles : [];
    const used = commonNames.filter((name) => !given.includes(name));
    noteUnused(unusedOptions(command, used), 'patch', context, values.flag('quiet'));
    const subject = await openSubject(model, context, command);
    const { checkpoint, options } = subject;
    checkSpec(spec, command.args[1], checkpoint, options);
    checkResume(options);
    const plant = values.text('plant');
    if (plant !== undefined && spec.experiment !== 'arms') throw plantsNothing(spec);
    const faults = plant === undefined ? [] : readFaults(plant, { config: checkpoint.config, policy: options.policy });
    const prefill = values.number('prefill') ?? null;
    const read = readPrompts(subject, source, options);
    const prompts = promptsOf(spec, prefill === null ? read : splitAtPrefill(read, prefill), options);
    const maxNewTokens = values.number('maxNewTokens') ?? 150;
    const lengths = prompts.map(({ tokens, continuation }) => tokens.length + (continuation?.length ?? maxNewTokens));
    const { workers, note } = chooseExecution(checkpoint, options, {
      rows: Math.max(...lengths),
      allLayers: 'patching',
    });
    if (!options.quiet) context.io.err(`${note}\n`);
    const progress = new Progress(context.io, options.quiet);
    const { policy, kernels, strategy, decodeRows, threads, ignoreEos, template, out, resume } = options;
    const run = RunDirectory.create({
      command: 'patch',
      model: checkpoint.name,
      resume,
      ...(out === null ? {} : { out }),
    });
    try {
      const subject = { checkpoint, policy, kernels, strategy, prompts, maxNewTokens, decodeRows, threads };
      const onProgress = (state: PatchProgress) =>
        progress.update(progressState(`${checkpoint.name} ${spec.name}`, state));
      const { result, text } = await runSpec(
        spec,
        { ...subject, ignoreEos, template, workers, faults, run, signal: context.signal, onProgress },
        context.io,
      );
      return { result, text, exitCode: result.gates.passed ? exitCodes.ok : exitCodes.failed };
    } finally {
      progress.end();
    }
  },
};

function progressState(label: string, { stage, done, total, from }: PatchProgress): ProgressState {
  if (stage === 'gates') return { label: `${label} gates`, done: 0, total: null, unit: 'prompts' };
  return { label, done, total, unit: 'prompts', from };
}
