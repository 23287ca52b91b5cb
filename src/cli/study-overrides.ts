/** What the command line says instead of the study file. */
import type { Command } from 'commander';
import type { Strategy } from '../model/sampling/index.ts';
import type { StudyDefinition } from '../study/definition/schema.ts';
import { OptionValues, readCommonOptions } from './options.ts';

/** The study with the options that were given in place of its own settings. @throws UsageError */
export function overrideStudy(study: StudyDefinition, command: Command): StudyDefinition {
  const values = new OptionValues(command);
  const given = (name: string) => command.getOptionValueSource(name) === 'cli';
  const options = readCommonOptions(command);
  const { prompts } = study;
  const file = values.text('prompts');
  const models = values.texts('model');
  const maxNewTokens = values.number('maxNewTokens');
  const sampling = (['temperature', 'topK', 'topP', 'sampler'] as const).some(given);
  return {
    ...study,
    ...(models === undefined ? {} : { models }),
    ...(given('precision') ? { precisions: [options.policy], placebo: anyPrecision(study.placebo) } : {}),
    ...(given('kernels') ? { kernels: [values.text('kernels') ?? options.kernels.name] } : {}),
    ...(sampling ? { strategies: [entryOf(options.strategy)], patching: anyStrategy(study.patching) } : {}),
    ...(given('seed') ? { seed: values.number('seed') ?? study.seed } : {}),
    ...(given('decodeRows') ? { decodeRows: options.decodeRows } : {}),
    ...(given('threads') ? { threads: options.threads } : {}),
    ...(given('ignoreEos') ? { ignoreEos: true } : {}),
    ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
    prompts: {
      ...prompts,
      ...(file === undefined ? {} : { file }),
      ...(options.limit === null ? {} : { limit: options.limit }),
      ...(given('template') ? { template: options.template } : {}),
      ...(options.fewShot === null ? {} : { fewShot: { file: options.fewShot } }),
    },
  };
}

function entryOf(strategy: Strategy): StudyDefinition['strategies'][number] {
  if (strategy.kind === 'greedy') return 'greedy';
  const { temperature, topK, topP, sampler } = strategy;
  return {
    ...{ temperature, sampler, coupling: 'keyed' },
    ...(topK === null ? {} : { topK }),
    ...(topP === null ? {} : { topP }),
  };
}

/** The study's own choice names strategies that are replaced. */
function anyStrategy({ prompts, every }: StudyDefinition['patching']): StudyDefinition['patching'] {
  return { prompts, every };
}

function anyPrecision({ precisions: _, ...placebo }: StudyDefinition['placebo']): StudyDefinition['placebo'] {
  return placebo;
}
