/** `kvlens capture MODEL`: the activations of one arm, as Arrow files. */
import { capture } from '../../divergence/capture.ts';
import { exitCodes } from '../../errors.ts';
import { selectHooks } from '../../graph/hooks.ts';
import { renderCapture } from '../../report/terminal/index.ts';
import { RunDirectory } from '../../store/run-directory.ts';
import type { CommandDefinition } from '../command.ts';
import { checkLoads } from '../execution.ts';
import {
  addCommonOptions,
  addOption,
  addPromptOptions,
  commonNames,
  OptionValues,
  readPromptSource,
  unusedOptions,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { noteUnused, onePrompt, openSubject, promptTarget } from '../subject.ts';
import { choice, integer, nonEmpty } from '../values.ts';

const arms = ['cached', 'uncached'] as const;
const ignored: readonly string[] = ['limit', 'template', 'fewShot', 'workers', 'resume'];
const used = commonNames.filter((name) => !ignored.includes(name));

export const captureCommand: CommandDefinition<'capture'> = {
  name: 'capture',
  description: "one arm's activations, as Arrow files",
  takesModel: true,
  keepsWork: true,
  configure: (command) => {
    addPromptOptions(command, ['prompt', 'tokens']);
    addOption(command, {
      flags: '--arm <ARM>',
      description: 'cached or uncached',
      read: choice('arm', arms),
      fallback: 'cached',
    });
    addOption(command, {
      flags: '--hooks <GLOB>',
      description: 'core, all, or names separated by commas, * matches dots',
      read: nonEmpty('hooks', 'a hook, core or all'),
      fallback: 'core',
    });
    addOption(command, {
      flags: '--max-new-tokens <N>',
      description: 'new tokens; 16 cached and 0 uncached unless given',
      read: integer('max-new-tokens', 0, 1_000_000),
    });
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const values = new OptionValues(command);
    noteUnused(unusedOptions(command, used), 'capture', context, values.flag('quiet'));
    const source = readPromptSource(command);
    const { checkpoint, options } = await openSubject(model, context, command);
    checkLoads(checkpoint, options.policy, options.maxMemory, 3);
    const prompt = onePrompt(source, promptTarget(checkpoint));
    const hooks = values.text('hooks') ?? 'core';
    selectHooks(hooks, checkpoint.config);
    const arm = values.text('arm') === 'uncached' ? 'uncached' : 'cached';
    const maxNewTokens = values.number('maxNewTokens') ?? (arm === 'cached' ? 16 : 0);
    const { policy, kernels, strategy, decodeRows, threads, ignoreEos, template } = options;
    const run = RunDirectory.create({
      command: 'capture',
      model: checkpoint.name,
      ...(options.out === null ? {} : { out: options.out }),
    });
    const progress = new Progress(context.io, options.quiet);
    try {
      const { gates, ...found } = await capture({
        ...{ checkpoint, policy, kernels, strategy, hooks, decodeRows, threads, ignoreEos, template },
        ...{ arm, maxNewTokens, run, signal: context.signal, prompts: [prompt] },
        onStep: (step) =>
          progress.update({ label: arm, done: step + 1, total: Math.max(1, maxNewTokens), unit: 'steps' }),
      });
      const failed = gates.filter((gate) => !gate.passed).map(({ name }) => name);
      const result = { run: run.path, ...found, gates: { passed: failed.length === 0, failed, results: gates } };
      return {
        result,
        text: renderCapture({ ...result, model: checkpoint.name, arm, gates }, context.io),
        exitCode: failed.length === 0 ? exitCodes.ok : exitCodes.failed,
      };
    } finally {
      progress.end();
    }
  },
};
