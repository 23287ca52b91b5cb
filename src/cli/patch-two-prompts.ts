/** `kvlens patch MODEL SPEC` for a clean/corrupted spec: its prompts come from the spec. */
import type { Command } from 'commander';
import { exitCodes, UsageError } from '../errors.ts';
import { resolveCleanCorrupted } from '../patching/clean-corrupted/resolve.ts';
import { type CleanCorruptedProgress, patchCleanCorrupted } from '../patching/clean-corrupted/run.ts';
import type { CleanCorruptedSpec } from '../patching/specification/clean-corrupted.ts';
import { cleanCorruptedFigures } from '../report/figures/clean-corrupted.ts';
import { renderCleanCorrupted } from '../report/terminal/index.ts';
import { RunDirectory } from '../store/run-directory.ts';
import { cleanCorruptedResult } from './clean-corrupted-result.ts';
import type { Context, Outcome } from './command.ts';
import { chooseExecution } from './execution.ts';
import { ofSpec, plantsNothing } from './experiments.ts';
import { type CommonName, checkResume, unusedOptions } from './options.ts';
import { Progress, type ProgressState } from './progress.ts';
import { noteUnused, openSubject } from './subject.ts';

const used: readonly CommonName[] = [
  ...(['precision', 'kernels', 'threads', 'workers', 'maxMemory', 'out', 'resume', 'json', 'quiet'] as const),
];

/** Run the command. @throws UsageError for options that give prompts */
export async function patchTwoPrompts(
  command: Command,
  model: string,
  context: Context,
  spec: CleanCorruptedSpec,
): Promise<Outcome<'patch'>> {
  const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
  const refused = ['prompts', 'prompt', 'tokens', 'prefill'].filter(isGiven).map((name) => `--${name}`);
  if (refused.length > 0) {
    throw new UsageError(
      `${refused.join(' and ')}: the prompts of "${spec.name}" are its "clean" and "corrupted", expected no others`,
    );
  }
  if (isGiven('plant')) throw plantsNothing(spec);
  const subject = await openSubject(model, context, command);
  const { checkpoint, options } = subject;
  const { policy, kernels, threads, out, resume, quiet } = options;
  const unused = [...unusedOptions(command, used), ...(isGiven('maxNewTokens') ? ['--max-new-tokens'] : [])];
  noteUnused(unused, `a clean-corrupted spec`, context, quiet);
  checkResume(options);
  const { clean } = ofSpec(command.args[1], () => resolveCleanCorrupted(spec, checkpoint, kernels));
  const demand = { rows: clean.tokens.length, allLayers: 'patching' };
  const { workers, note } = chooseExecution(checkpoint, options, demand);
  if (!quiet) context.io.err(`${note}\n`);
  const progress = new Progress(context.io, quiet);
  const run = RunDirectory.create({
    ...{ command: 'patch', model: checkpoint.name, resume },
    ...(out === null ? {} : { out }),
  });
  try {
    const summary = await patchCleanCorrupted({
      ...{ checkpoint, policy, kernels, threads, spec, workers, run, signal: context.signal },
      files: cleanCorruptedFigures,
      onProgress: (state) => progress.update(progressState(`${checkpoint.name} ${spec.name}`, state)),
    });
    progress.end();
    const result = cleanCorruptedResult(summary, run.path);
    return {
      result,
      text: renderCleanCorrupted(summary, { ...context.io, run: run.path }),
      exitCode: result.gates.passed ? exitCodes.ok : exitCodes.failed,
    };
  } finally {
    progress.end();
  }
}

function progressState(label: string, { stage, done, total, from }: CleanCorruptedProgress): ProgressState {
  if (stage === 'gates') return { label: `${label} gates`, done: 0, total: null, unit: 'cells' };
  return { label, done, total, unit: 'cells', from };
}
