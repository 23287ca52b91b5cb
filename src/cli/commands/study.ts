/** `kvlens study [STUDY.json]`: conditions over prompts, outcomes, verdicts; whole, in shards, or joined from shards. */
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { exitCodes, UsageError } from '../../errors.ts';
import { renderStudy } from '../../report/terminal/index.ts';
import { RunDirectory } from '../../store/run-directory.ts';
import { resolveStudy } from '../../study/definition/resolve.ts';
import { readStudy, type StudyDefinition } from '../../study/definition/schema.ts';
import { shippedStudies, shippedStudy } from '../../study/definition/studies.ts';
import { finishedStudy } from '../../study/run/finished.ts';
import { mergeShards } from '../../study/run/merge.ts';
import type { StudyResult } from '../../study/run/publish.ts';
import { runStudy, type StudyProgress } from '../../study/run/study-run.ts';
import { isShard, parseShard } from '../../study/run/work-units.ts';
import type { CommandDefinition, Context, Outcome } from '../command.ts';
import type { Result } from '../contract.ts';
import { addCommonOptions, addOption, type CommonName, checkResume, OptionValues, unusedOptions } from '../options.ts';
import { Progress, type ProgressState } from '../progress.ts';
import { chooseStudyExecution } from '../study-execution.ts';
import { overrideStudy } from '../study-overrides.ts';
import { finishedResult, studyResult } from '../study-result.ts';
import { noteUnused } from '../subject.ts';
import { integer, nonEmpty } from '../values.ts';

const defaultStudy = 'quick';
/** Common options that a merge makes use of. */
const ofMerge: readonly CommonName[] = ['out', 'resume', 'json', 'quiet'];

export const studyCommand: CommandDefinition<'study'> = {
  name: 'study',
  description: 'the paper’s experiment as a whole: conditions, outcomes, and a verdict for each claim',
  takesModel: false,
  keepsWork: true,
  configure: (command) => {
    command.argument('[STUDY]', 'a study, as a JSON file');
    addOption(command, {
      flags: '--preset <NAME>',
      description: `a study that ships with kvlens: ${shippedStudies().join(', ')} (default ${defaultStudy})`,
      read: nonEmpty('preset', 'a name'),
    });
    addOption(command, {
      flags: '--model <MODEL...>',
      description: 'these models instead of the study’s: embedded ones, or checkpoint folders',
      read: (text: string, earlier?: unknown) => [...(Array.isArray(earlier) ? earlier : []), text],
    });
    addOption(command, {
      flags: '--prompts <FILE>',
      description: 'JSON Lines as GSM8K’s own, instead of the study’s',
      read: nonEmpty('prompts', 'a file'),
    });
    addOption(command, {
      flags: '--max-new-tokens <N>',
      description: 'new tokens of each text, instead of the study’s',
      read: integer('max-new-tokens', 2, 1_000_000),
    });
    addOption(command, {
      flags: '--shard <I/N>',
      description: 'run every N-th unit, from the I-th on, into a folder of its own',
      read: parseShard,
    });
    addOption(command, {
      flags: '--merge <RUN...>',
      description: 'join finished shards; no model is needed',
      read: (text: string, earlier?: unknown) => [...(Array.isArray(earlier) ? earlier : []), text],
    });
    addCommonOptions(command);
  },
  run: async (command, _, context) => {
    const values = new OptionValues(command);
    const folders = values.texts('merge');
    if (folders !== undefined) return merge(command, folders, context);
    const out = values.text('out') ?? null;
    const resume = values.flag('resume');
    checkResume({ resume, out });
    const { definition, source } = chosenStudy(command);
    const shard = values.of('shard', isShard) ?? null;
    const study = await resolveStudy(overrideStudy(definition, command), source);
    if (resume && out !== null) {
      const finished = await finishedStudy(out, study, shard);
      if (finished) return outcomeOf(finished, out, context, finishedResult(finished, out));
    }
    const { note, ...execution } = chooseStudyExecution(study, {
      workers: values.number('workers') ?? availableParallelism(),
      maxMemory: values.number('maxMemory') ?? null,
    });
    if (note !== null && !values.flag('quiet')) context.io.err(`${note}\n`);
    const name = definition.name + (shard === null ? '' : `-${shard.index}-of-${shard.of}`);
    const run = RunDirectory.create({ command: 'study', model: name, resume, ...(out === null ? {} : { out }) });
    const progress = new Progress(context.io, values.flag('quiet'));
    try {
      const result = await runStudy({
        ...{ study, run, shard, ...execution, signal: context.signal },
        onProgress: (state) => progress.update(progressState(name, state)),
      });
      progress.end();
      return outcomeOf(result, run.path, context);
    } finally {
      progress.end();
    }
  },
};

/** The study that the command line names, and how errors name it. */
function chosenStudy(command: Command): { definition: StudyDefinition; source: string } {
  const [file] = command.args;
  const preset = new OptionValues(command).text('preset');
  if (file !== undefined && preset !== undefined) {
    throw new UsageError(`found ${file} and --preset ${preset}, expected one of them`);
  }
  if (file !== undefined) return { definition: readStudy(file), source: file };
  const name = preset ?? defaultStudy;
  return { definition: shippedStudy(name), source: `study ${name}` };
}

async function merge(command: Command, folders: readonly string[], context: Context): Promise<Outcome<'study'>> {
  const values = new OptionValues(command);
  // `--merge A B` takes all that follows; a study before it has no say in what the shards are of.
  if (command.args.length > 0) {
    throw new UsageError(
      `--merge: found ${command.args[0]} too, expected folders of shards alone: they say what study they are of`,
    );
  }
  const own = (['preset', 'shard', 'model', 'prompts', 'maxNewTokens'] as const).find(
    (name) => command.getOptionValueSource(name) === 'cli',
  );
  if (own !== undefined)
    throw new UsageError(
      `--merge: found with --${own.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}, expected folders of shards alone`,
    );
  noteUnused(unusedOptions(command, ofMerge), 'study --merge', context, values.flag('quiet'));
  const [out, resume] = [values.text('out'), values.flag('resume')];
  checkResume({ resume, out: out ?? null });
  const { result, run, isNew } = await mergeShards({ folders, resume, ...(out === undefined ? {} : { out }) });
  return outcomeOf(result, run, context, isNew ? studyResult(result, run) : finishedResult(result, run));
}

function outcomeOf(
  found: StudyResult,
  run: string,
  { io }: Context,
  result: Result<'study'> = studyResult(found, run),
): Outcome<'study'> {
  return {
    result,
    text: renderStudy(found, { ...io, run }),
    exitCode: result.gates.passed ? exitCodes.ok : exitCodes.failed,
  };
}

/** How far a study is, as a line says it. */
export function progressState(
  label: string,
  { stage, done, total, from, flips, condition }: StudyProgress,
): ProgressState {
  if (stage === 'files') return { label: `${label} files`, done: total, total, unit: 'units' };
  if (stage === 'gates') return { label: `${label} gates`, done, total, unit: 'groups', from };
  const notes = [`${flips} flips`, ...(condition === null ? [] : [condition])];
  return { label, done, total, unit: 'units', from, note: notes.join('  ') };
}
