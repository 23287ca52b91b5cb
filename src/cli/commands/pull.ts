/** `kvlens pull ORG/NAME`: a checkpoint from a Hugging Face hub. */
import { exitCodes } from '../../errors.ts';
import { type PullProgress, pull } from '../../hub/pull.ts';
import { renderPull } from '../../report/terminal/index.ts';
import type { CommandDefinition } from '../command.ts';
import { addOption, addSomeOptions, OptionValues } from '../options.ts';
import { Progress, type ProgressState } from '../progress.ts';
import { nonEmpty } from '../values.ts';

export const pullCommand: CommandDefinition<'pull'> = {
  name: 'pull',
  description:
    'a checkpoint from a Hugging Face hub (HF_ENDPOINT, HF_TOKEN, HF_HOME); exit code 3 if kvlens cannot use it',
  takesModel: false,
  keepsWork: true,
  configure: (command) => {
    command.argument('<ORG/NAME>', 'a repository, such as Qwen/Qwen3-0.6B');
    addOption(command, {
      flags: '--revision <R>',
      description: 'a branch, a tag or a commit',
      read: nonEmpty('revision', 'a branch, a tag or a commit'),
      fallback: 'main',
    });
    addOption(command, {
      flags: '--to <DIR>',
      description: "folder for plain files, instead of the cache that Hugging Face's tools share",
      read: nonEmpty('to', 'a folder'),
    });
    addOption(command, {
      flags: '--verify',
      description: 'compare the digests of files that are in the shared cache already, not only their sizes',
    });
    addSomeOptions(command, ['json', 'quiet']);
  },
  run: async (command, _model, { io, signal }) => {
    const values = new OptionValues(command);
    const quiet = values.flag('quiet');
    const to = values.text('to');
    const progress = new Progress(io, quiet);
    try {
      const result = await pull({
        ...{ repository: command.args[0], revision: values.text('revision') ?? 'main', signal },
        ...(to === undefined ? {} : { to }),
        verify: values.flag('verify'),
        onProgress: (state) => progress.update(progressState(state)),
        onUnsupported: (reason) => {
          progress.end();
          if (!quiet) io.err(`note: kvlens cannot use this checkpoint: ${reason}\n`);
        },
      });
      progress.end();
      const exitCode = result.unsupported === null ? exitCodes.ok : exitCodes.input;
      return { result, text: renderPull(result, io), exitCode };
    } finally {
      progress.end();
    }
  },
};

function progressState({ name, total, stage, done, from }: PullProgress): ProgressState {
  return { label: stage === 'checking' ? `checking ${name}` : name, done, total, from, unit: 'bytes' };
}
