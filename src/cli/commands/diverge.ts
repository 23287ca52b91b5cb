/** `kvlens diverge MODEL`: the main job – both arms over prompts, where they part, and how far. */
import { join } from 'node:path';
import { type DivergeOptions, type DivergeProgress, diverge } from '../../divergence/diverge.ts';
import type { DivergenceSummary } from '../../divergence/summary.ts';
import { exitCodes, UsageError } from '../../errors.ts';
import { selectHooks } from '../../graph/hooks.ts';
import { Executor } from '../../model/executor.ts';
import { readFaults } from '../../model/faults.ts';
import { DriftRecord, type Explanation, explain } from '../../patching/explain/index.ts';
import { renderExplanation, renderSummary } from '../../report/terminal/index.ts';
import { RunDirectory } from '../../store/run-directory.ts';
import { splitAtPrefill } from '../../study/prompts.ts';
import type { CommandDefinition } from '../command.ts';
import { divergeResult } from '../diverge-result.ts';
import { chooseExecution, longestSequence } from '../execution.ts';
import {
  addCommonOptions,
  addOption,
  addPromptOptions,
  type CommonName,
  commonNames,
  OptionValues,
  readPromptSource,
  unusedOptions,
} from '../options.ts';
import { Progress, type ProgressState } from '../progress.ts';
import { noteUnlikeKernels, noteUnused, openSubject, readPrompts } from '../subject.ts';
import { choice, integer, nonEmpty } from '../values.ts';

const modes = ['teacher-forced', 'free-running', 'both'] as const;
/** `--tight`: rates to about a third of the default's interval. */
const tightPrompts = 800;
/** Common options that are about prompt files. */
const onlyFiles: readonly CommonName[] = ['template', 'fewShot', 'limit'];

export const divergeCommand: CommandDefinition<'diverge'> = {
  name: 'diverge',
  description: 'where and how far cached and uncached decoding part',
  takesModel: true,
  keepsWork: true,
  configure: (command) => {
    addPromptOptions(command, ['prompts', 'prompt', 'tokens']);
    addOption(command, {
      flags: '--mode <MODE>',
      description: 'teacher-forced, free-running or both',
      read: choice('mode', modes),
      fallback: 'both',
    });
    addOption(command, {
      flags: '--prefill <N>',
      description: 'the first N given tokens are the prompt, the rest is the forced continuation (teacher-forced)',
      read: integer('prefill', 1),
    });
    addOption(command, {
      flags: '--max-new-tokens <N>',
      description: 'new tokens of each prompt',
      read: integer('max-new-tokens', 1, 1_000_000),
      fallback: 150,
    });
    addOption(command, {
      flags: '--hooks <GLOB>',
      description: 'hooks that become rows of layers.arrow: core, all, or names separated by commas, * matches dots',
      read: nonEmpty('hooks', 'a hook, core or all'),
      fallback: 'core',
    });
    addOption(command, { flags: '--tight', description: `${tightPrompts} prompts instead of 100: narrower intervals` });
    addOption(command, {
      flags: '--save-activations',
      description: 'write the compared rows themselves, too (but for those of the cache)',
    });
    addOption(command, {
      flags: '--explain',
      description:
        'explain the first flip, or the first step that differs: where it starts, and by which rule it is judged',
    });
    addOption(command, {
      flags: '--plant <FILE>',
      description: 'plant the faults of this JSON file in the cached arm, to see that kvlens finds a bug of their kind',
      read: nonEmpty('plant', 'a file'),
    });
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const values = new OptionValues(command);
    const source = readPromptSource(command);
    const prefill = values.number('prefill') ?? null;
    const mode = readMode(values, prefill);
    const given = source.prompt !== null || source.tokens !== null ? onlyFiles : [];
    const used = commonNames.filter((name) => name !== 'resume' && !given.includes(name));
    noteUnused(unusedOptions(command, used), 'diverge', context, values.flag('quiet'));
    const subject = await openSubject(model, context, command);
    const { checkpoint, options } = subject;
    const limit = options.limit ?? (values.flag('tight') ? tightPrompts : null);
    const read = readPrompts(subject, source, { ...options, limit });
    const prompts = prefill === null ? read : splitAtPrefill(read, prefill);
    const hooks = values.text('hooks') ?? 'core';
    const maxNewTokens = values.number('maxNewTokens') ?? 150;
    selectHooks(hooks, checkpoint.config);
    if (options.decodeRows > 1) noteUnlikeKernels(options, context);
    const plant = values.text('plant');
    const faults = plant === undefined ? [] : readFaults(plant, { config: checkpoint.config, policy: options.policy });
    const { execution, workers, note } = chooseExecution(checkpoint, options, {
      rows: longestSequence(prompts, maxNewTokens, checkpoint.config),
      givenTokens: prompts.every(({ continuation }) => continuation !== null && continuation.length > 0),
    });
    const explaining = values.flag('explain');
    if (explaining && execution === 'by-layer') {
      throw new UsageError(
        '--explain: found a run layer by layer, expected one with all layers loaded',
        'raise --max-memory',
      );
    }
    if (!options.quiet) context.io.err(`${note}\n`);
    const record = new DriftRecord();
    const progress = new Progress(context.io, options.quiet);
    const { policy, kernels, strategy, decodeRows, threads, ignoreEos, template } = options;
    const run = RunDirectory.create({
      command: 'diverge',
      model: checkpoint.name,
      ...(options.out === null ? {} : { out: options.out }),
    });
    const request: DivergeOptions = {
      ...{ checkpoint, policy, kernels, strategy, prompts, mode, hooks, decodeRows, threads, workers, ignoreEos },
      ...{ faults, template, run, signal: context.signal },
      ...{ maxNewTokens, execution },
      saveActivations: values.flag('saveActivations'),
      onPrompt: (result) => record.add(result),
      onProgress: (state) => progress.update(progressState(checkpoint.name, state)),
    };
    try {
      const summary = await diverge(request);
      progress.end();
      const explanation = explaining ? await explainRun(request, summary, record) : null;
      const result = divergeResult(summary, run.path, explanation);
      const shown = explanation === null ? [] : [renderExplanation(explanation, context.io)];
      return {
        result,
        text: [renderSummary(summary, { ...context.io, run: run.path }), ...shown].join('\n\n'),
        exitCode: result.gates.passed ? exitCodes.ok : exitCodes.failed,
      };
    } finally {
      progress.end();
    }
  },
};

/** Explain a run that has just been made; the reproduction goes into its folder. */
async function explainRun(
  { checkpoint, policy, kernels, threads, prompts, strategy, decodeRows, faults = [], run }: DivergeOptions,
  { gates }: DivergenceSummary,
  record: DriftRecord,
): Promise<Explanation> {
  const executor = new Executor({ checkpoint, policy, kernels, threads });
  try {
    const folder = join(run.path, 'explain');
    return await explain({ executor, prompts, strategy, decodeRows, faults, gates, record, folder });
  } finally {
    await executor.release();
  }
}

/** Forced continuations leave nothing to run free. */
function readMode(values: OptionValues, prefill: number | null): DivergeOptions['mode'] {
  const text = values.text('mode');
  const mode = modes.find((word) => word === text) ?? 'both';
  if (prefill !== null && mode === 'free-running') {
    throw new UsageError('--prefill: found with --mode free-running, expected teacher-forced: it forces the tokens');
  }
  return prefill === null ? mode : 'teacher-forced';
}

function progressState(label: string, { stage, done, total, flips }: DivergeProgress): ProgressState {
  if (stage === 'layers') return { label: `${label} layer by layer`, done, total, unit: 'stages' };
  if (stage === 'gates') return { label: `${label} gates`, done: 0, total: null, unit: 'prompts' };
  return { label, done, total, unit: 'prompts', ...(flips > 0 ? { note: `${flips} flips` } : {}) };
}
