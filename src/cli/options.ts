/** The options commands share, defined once: how each is spelt, read, checked and defaulted. */
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { UsageError } from '../errors.ts';
import { type KernelPreset, kernelNames, resolveKernels } from '../graph/kernels.ts';
import { type RoundingPolicy, resolvePolicy } from '../graph/rounding.ts';
import { resolveStrategy, type Strategy } from '../model/sampling/index.ts';
import { defaultTemplate } from '../study/prompts.ts';
import {
  byteSize,
  choice,
  finiteNumber,
  integer,
  nonEmpty,
  readEscapes,
  tokenList,
  type ValueReader,
} from './values.ts';

/** What every command that computes can be told, checked and resolved. */
export interface CommonOptions {
  policy: RoundingPolicy;
  kernels: KernelPreset;
  decodeRows: number;
  strategy: Strategy;
  /** Intra-op threads. */
  threads: number;
  workers: number;
  /** Bytes, or null for no limit. */
  maxMemory: number | null;
  /** Prompts, or null for all. */
  limit: number | null;
  template: string;
  fewShot: string | null;
  ignoreEos: boolean;
  out: string | null;
  resume: boolean;
  json: boolean;
  quiet: boolean;
}

/** Where prompts come from; at most one is set. */
export interface PromptSource {
  prompts: string | null;
  prompt: string | null;
  tokens: number[] | null;
}

interface Definition {
  flags: string;
  description: string;
  read?: ValueReader<unknown>;
  fallback?: unknown;
  fallbackText?: string;
}

const definitions = {
  precision: {
    flags: '--precision <P>',
    description: 'fp32, fp16, bf16, fp16-sdpa, bf16-sdpa, fp64, or a FILE.json with a rounding policy',
    read: nonEmpty('precision', 'a precision'),
    fallback: 'fp16',
  },
  kernels: {
    flags: '--kernels <PRESET>',
    description: `shapes and summation order of the matmuls in prefill and decode: ${kernelNames}, or a FILE.json`,
    read: nonEmpty('kernels', 'a kernel preset'),
    fallback: 'ort',
  },
  decodeRows: {
    flags: '--decode-rows <N>',
    description: 'newest rows each decode step recomputes and rewrites in the cache',
    read: integer('decode-rows', 1, 1_000_000),
    fallback: 1,
  },
  temperature: {
    flags: '--temperature <T>',
    description: 'sample with temperature T (0 is greedy)',
    read: finiteNumber('temperature', 'a number ≥ 0', (value) => value >= 0),
  },
  topK: {
    flags: '--top-k <K>',
    description: 'sample among the K most likely tokens',
    read: integer('top-k', 1),
  },
  topP: {
    flags: '--top-p <P>',
    description: 'sample among the most likely tokens that hold probability P',
    read: finiteNumber('top-p', 'a number in (0, 1]', (value) => value > 0 && value <= 1),
  },
  seed: {
    flags: '--seed <S>',
    description: 'sample with this seed',
    read: integer('seed', 0),
  },
  sampler: {
    flags: '--sampler <NAME>',
    description: 'how a sampled token is drawn: gumbel (the default) or inverse-cdf',
    read: choice('sampler', ['gumbel', 'inverse-cdf']),
  },
  threads: {
    flags: '--threads <N>',
    description: 'threads inside one operation',
    read: integer('threads', 1, 1024),
    fallback: 1,
  },
  workers: {
    flags: '--workers <N>',
    description: 'prompts that run side by side',
    read: integer('workers', 1, 1024),
    fallback: availableParallelism(),
    fallbackText: 'one per core',
  },
  maxMemory: {
    flags: '--max-memory <SIZE>',
    description:
      'memory to plan for, such as 2G: fewer workers, or one layer at a time where tokens are given; an estimate, no bound',
    read: byteSize('max-memory'),
  },
  limit: {
    flags: '--limit <N>',
    description: 'the first N prompts',
    read: integer('limit', 1),
  },
  template: {
    flags: '--template <TEXT>',
    description: 'turns a question into a prompt; \\n and \\t are a line feed and a tab',
    read: readEscapes,
    fallback: defaultTemplate,
    fallbackText: '{question}\\n',
  },
  fewShot: {
    flags: '--few-shot <FILE>',
    description: 'worked examples before each question',
    read: nonEmpty('few-shot', 'a file'),
  },
  ignoreEos: { flags: '--ignore-eos', description: 'go on after the end token' },
  out: {
    flags: '--out <DIR>',
    description: 'folder for the results; it must be new or empty',
    read: nonEmpty('out', 'a folder'),
  },
  resume: { flags: '--resume', description: 'go on with the unfinished run in --out (patch, study)' },
  json: { flags: '--json', description: 'print exactly one JSON object' },
  quiet: { flags: '--quiet', description: 'no progress and no notes on stderr' },
} satisfies Record<string, Definition>;

/** Name of a common option, as commander stores it. */
export type CommonName = keyof typeof definitions;

/** All of them. */
export const commonNames = Object.keys(definitions).filter((name): name is CommonName => name in definitions);

const promptDefinitions = {
  prompts: {
    flags: '--prompts <FILE>',
    description: 'JSON Lines: {"question", "answer"}, {"prompt"} or {"tokens"}',
    read: nonEmpty('prompts', 'a file'),
  },
  prompt: { flags: '--prompt <TEXT>', description: 'one prompt, verbatim' },
  tokens: {
    flags: '--tokens <IDS>',
    description: 'one prompt as token ids separated by commas, taken as they are',
    read: tokenList('tokens'),
  },
} satisfies Record<string, Definition>;

/** Add an option of a command's own. */
export function addOption(command: Command, definition: Definition): void {
  const option = new Option(definition.flags, definition.description);
  if (definition.read) option.argParser(definition.read);
  if (definition.fallback !== undefined) option.default(definition.fallback, definition.fallbackText);
  command.addOption(option);
}

/** Add the common options to a command, all of them: one command line works for every command. */
export function addCommonOptions(command: Command): void {
  for (const definition of Object.values<Definition>(definitions)) addOption(command, definition);
}

/** Add only these of the common options. */
export function addSomeOptions(command: Command, names: readonly CommonName[]): void {
  for (const name of names) addOption(command, definitions[name]);
}

/** Add the ways to give a prompt. */
export function addPromptOptions(command: Command, names: readonly (keyof PromptSource)[]): void {
  for (const name of names) addOption(command, promptDefinitions[name]);
}

/** Common options that were given although the command makes no use of them, as `--limit`. */
export function unusedOptions(command: Command, used: readonly CommonName[]): string[] {
  const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
  // A sampler has no effect on greedy decoding.
  const greedy = !(['temperature', 'topK', 'topP', 'seed'] as const).some(isGiven);
  return Object.keys(definitions)
    .filter((name) => isGiven(name) && (!used.some((other) => other === name) || (name === 'sampler' && greedy)))
    .map((name) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
}

/**
 * The common options of a parsed command line.
 * @throws UsageError, or InputError for a policy file that is not one.
 */
export function readCommonOptions(command: Command): CommonOptions {
  const values = new OptionValues(command);
  const kernels = resolveKernels(values.text('kernels') ?? 'ort');
  const threads = values.number('threads') ?? 1;
  checkThreads(kernels, threads);
  const sampler = values.text('sampler');
  return {
    policy: resolvePolicy(values.text('precision') ?? 'fp16'),
    kernels,
    decodeRows: values.number('decodeRows') ?? 1,
    strategy: resolveStrategy({
      temperature: values.number('temperature'),
      topK: values.number('topK'),
      topP: values.number('topP'),
      seed: values.number('seed'),
      ...(sampler === 'gumbel' || sampler === 'inverse-cdf' ? { sampler } : {}),
    }),
    threads,
    workers: values.number('workers') ?? availableParallelism(),
    maxMemory: values.number('maxMemory') ?? null,
    limit: values.number('limit') ?? null,
    template: values.text('template') ?? defaultTemplate,
    fewShot: values.text('fewShot') ?? null,
    ignoreEos: values.flag('ignoreEos'),
    out: values.text('out') ?? null,
    resume: values.flag('resume'),
    json: values.flag('json'),
    quiet: values.flag('quiet'),
  };
}

/** @throws UsageError for threads under a preset whose claims hold with one. */
export function checkThreads({ name, singleThread }: KernelPreset, threads: number): void {
  if (singleThread && threads !== 1) {
    throw new UsageError(`--threads: found ${threads}, expected 1 with --kernels ${name}`);
  }
}

/** @throws UsageError for `--resume` without the folder to go on in. */
export function checkResume({ resume, out }: Pick<CommonOptions, 'resume' | 'out'>): void {
  if (resume && out === null)
    throw new UsageError('--resume: found without --out, expected the folder of the run to go on with');
}

/** @throws UsageError if more than one way to give a prompt is used. */
export function readPromptSource(command: Command): PromptSource {
  const values = new OptionValues(command);
  const source = {
    prompts: values.text('prompts') ?? null,
    prompt: values.text('prompt') ?? null,
    tokens: values.numbers('tokens') ?? null,
  };
  const given = Object.entries(source).flatMap(([name, value]) => (value === null ? [] : [`--${name}`]));
  if (given.length > 1) throw new UsageError(`found ${given.join(' and ')}, expected one of them`);
  return source;
}

/** Typed access to what commander parsed: its values are untyped, so each is checked where it is taken. */
export class OptionValues {
  private readonly values: Record<string, unknown>;

  constructor(command: Command) {
    this.values = command.opts();
  }

  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === 'string' ? value : undefined;
  }

  number(name: string): number | undefined {
    const value = this.values[name];
    return typeof value === 'number' ? value : undefined;
  }

  numbers(name: string): number[] | undefined {
    const value = this.values[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'number') : undefined;
  }

  texts(name: string): string[] | undefined {
    const value = this.values[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : undefined;
  }

  /** A value that `read` made of the text. */
  of<T>(name: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.values[name];
    return is(value) ? value : undefined;
  }

  flag(name: string): boolean {
    return this.values[name] === true;
  }
}
