/** `kvlens export MODEL`: ONNX graphs with every layer's residual and K/V tensors as outputs. */
import { expandKeyValueHeads, isExpanded } from '../../checkpoint/expand-kv.ts';
import { exitCodes, UsageError } from '../../errors.ts';
import { exportedHooks } from '../../graph/export.ts';
import { selectHooks } from '../../graph/hooks.ts';
import { writeGraphFolder } from '../../store/graph-folder.ts';
import type { CommandDefinition } from '../command.ts';
import { addCommonOptions, addOption, OptionValues, unusedOptions } from '../options.ts';
import { noteUnused, openSubject } from '../subject.ts';
import { nonEmpty } from '../values.ts';

const used = ['precision', 'kernels', 'out', 'json', 'quiet'] as const;

export const exportCommand: CommandDefinition<'export'> = {
  name: 'export',
  description: 'ONNX graphs whose outputs are the residual stream and the K/V rows of every layer',
  takesModel: true,
  keepsWork: false,
  configure: (command) => {
    addOption(command, { flags: '--single-file', description: 'one graph with its weights beside it' });
    addOption(command, {
      flags: '--expand-kv',
      description: 'repeat the K/V heads to one per query head: multi-head attention with equal results',
    });
    addOption(command, {
      flags: '--hooks <GLOB>',
      description: 'hooks that become outputs: core, all, or names separated by commas, * matches dots',
      read: nonEmpty('hooks', 'a hook, core or all'),
      fallback: exportedHooks,
    });
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const values = new OptionValues(command);
    const quiet = values.flag('quiet');
    noteUnused(unusedOptions(command, used), 'export', context, quiet);
    const out = values.text('out');
    if (out === undefined) throw new UsageError('--out: found none, expected a folder for the graphs');
    const { checkpoint: opened, options } = await openSubject(model, context, command);
    const checkpoint = values.flag('expandKv') ? expandKeyValueHeads(opened) : opened;
    if (values.flag('expandKv') && checkpoint === opened && !quiet) {
      const { heads } = opened.config;
      context.io.err(
        `note: --expand-kv: ${opened.name} has ${heads} K/V heads for ${heads} heads: nothing to repeat\n`,
      );
    }
    const { policy, kernels } = options;
    const hooks = values.text('hooks') ?? exportedHooks;
    selectHooks(hooks, checkpoint.config);
    const singleFile = values.flag('singleFile');
    const files = await writeGraphFolder(out, { checkpoint, policy, kernels, hooks, singleFile });
    const result = {
      out,
      files,
      precision: policy.name,
      kernels: kernels.name,
      expandedKv: isExpanded(checkpoint.config),
    };
    return {
      result,
      text: [...files.map((file) => `  ${file}`), `  look           ${out}`].join('\n'),
      exitCode: exitCodes.ok,
    };
  },
};
