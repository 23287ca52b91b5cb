/** From a study's definition to what runs: models opened, prompts tokenised, conditions in their order. */
import { embeddedModels, resolveModel } from '../../checkpoint/embedded.ts';
import { expandKeyValueHeads } from '../../checkpoint/expand-kv.ts';
import { checkFiniteWeights } from '../../checkpoint/finite-weights.ts';
import { openCheckpoint } from '../../checkpoint/open.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import { InputError } from '../../errors.ts';
import {
  checkSlices,
  type KernelPreset,
  kernelNames,
  namedKernels,
  parseKernels,
  resolveKernels,
} from '../../graph/kernels.ts';
import { policies, type RoundingPolicy, resolvePolicy } from '../../graph/rounding.ts';
import { type Fault, parseFaults } from '../../model/faults.ts';
import { type Prompt, readPromptFile } from '../prompts.ts';
import { type CrossedFactors, crossFactors, type Factors } from './factors.ts';
import type { StudyDefinition } from './schema.ts';
import { resolveStudyStrategy } from './strategies.ts';

/** A model of a study, opened. */
export interface OpenedModel {
  checkpoint: Checkpoint;
  prompts: readonly Prompt[];
  /** Planted in a share of the prompts. */
  faults: readonly Fault[];
}

export interface ResolvedStudy extends CrossedFactors {
  definition: StudyDefinition;
  /** By name, in the order of the definition. */
  models: ReadonlyMap<string, OpenedModel>;
  factors: Factors;
  /** Names of the strategies that are patched. */
  patched: readonly string[];
}

/**
 * Open a study's models and make its conditions.
 * @param source names the study in errors: a file
 * @throws InputError for what a model, a file or an option does not have
 */
export async function resolveStudy(definition: StudyDefinition, source: string): Promise<ResolvedStudy> {
  const rounding = unique(
    definition.precisions.map((entry) => policyOf(entry, source)),
    'precisions',
    source,
  );
  const kernels = unique(
    definition.kernels.map((entry) => kernelsOf(entry, source)),
    'kernels',
    source,
  );
  const strategies = unique(
    definition.strategies.map((entry) => resolveStudyStrategy(entry, definition.seed, source)),
    'strategies',
    source,
  );
  checkThreads(kernels, definition.threads, source);
  const names = strategies.map(({ name }) => name);
  const patched = definition.patching.strategies ?? [names.includes('greedy') ? 'greedy' : names[0]];
  const unknown = patched.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new InputError(
      `${source}: patching.strategies: found ${JSON.stringify(unknown)}, expected ${names.join(', ')}`,
    );
  }
  const precisions = rounding.map(({ name }) => name);
  const missing = definition.placebo.precisions?.find((name) => !precisions.includes(name));
  if (missing !== undefined) {
    throw new InputError(
      `${source}: placebo.precisions: found ${JSON.stringify(missing)}, expected ${precisions.join(', ')}`,
    );
  }
  const models = new Map<string, OpenedModel>();
  for (const entry of definition.models) {
    const opened = await openModel(entry, definition, rounding, kernels, source);
    const { name } = opened.checkpoint;
    if (models.has(name)) throw new InputError(`${source}: models: found two named ${JSON.stringify(name)}`);
    models.set(name, opened);
  }
  const factors = {
    models: [...models].map(([name, { checkpoint }]) => ({ name, config: checkpoint.config })),
    ...{ policies: rounding, kernels, strategies, padding: definition.padding },
  };
  return { definition, models, factors, patched, ...crossFactors(factors) };
}

async function openModel(
  entry: StudyDefinition['models'][number],
  definition: StudyDefinition,
  rounding: readonly RoundingPolicy[],
  kernels: readonly KernelPreset[],
  source: string,
): Promise<OpenedModel> {
  const { model, expandKv } = typeof entry === 'string' ? { model: entry, expandKv: false } : entry;
  const resolved = modelOf(model, source);
  if (resolved.kind === 'graph') {
    throw new InputError(`${source}: models: ${model} is an exported graph folder, expected a checkpoint`);
  }
  const stored = await openCheckpoint(resolved.dir, resolved.name === undefined ? {} : { name: resolved.name });
  checkFiniteWeights(stored);
  const checkpoint = expandKv ? expandKeyValueHeads(stored) : stored;
  for (const preset of kernels) checkSlices(preset, checkpoint.config);
  const { prompts: settings } = definition;
  const file = settings.file ?? resolved.embedded?.prompts ?? embeddedModels()[0]?.prompts;
  if (file === undefined) throw new InputError(`${source}: prompts.file: found nothing, expected a file`);
  const { tokenizer, config } = checkpoint;
  const target = { tokenizer, vocabSize: config.vocabSize, maxPositions: config.maxPositions };
  const { template, limit, fewShot, delimiter } = settings;
  const prompts = readPromptFile(
    file,
    {
      ...{ template, limit, fewShot: fewShot?.file ?? null, targetDelimiter: delimiter },
      ...(fewShot?.count === undefined ? {} : { fewShotCount: fewShot.count }),
      ...(fewShot?.seed === undefined ? {} : { fewShotSeed: fewShot.seed }),
    },
    target,
  );
  const faults = definition.plant?.faults ?? [];
  for (const policy of faults.length === 0 ? [] : rounding) {
    parseFaults(faults, `${source}: plant.faults`, { config, policy });
  }
  return { checkpoint, prompts, faults };
}

function policyOf(entry: StudyDefinition['precisions'][number], source: string): RoundingPolicy {
  if (typeof entry !== 'string') return entry;
  if (Object.hasOwn(policies, entry) || entry.endsWith('.json')) return resolvePolicy(entry);
  throw new InputError(
    `${source}: precisions: found ${JSON.stringify(entry)}, expected ${Object.keys(policies).join(', ')} or a FILE.json`,
  );
}

function kernelsOf(entry: StudyDefinition['kernels'][number], source: string): KernelPreset {
  if (typeof entry !== 'string') return parseKernels(entry, `${source}: kernels`);
  if (namedKernels(entry) !== null || entry.endsWith('.json')) return resolveKernels(entry);
  throw new InputError(
    `${source}: kernels: found ${JSON.stringify(entry)}, expected ${kernelNames} or a FILE.json`,
    'SLICES is 2 … 4096, CHUNK 1 … 65536, SEED ≥ 0',
  );
}

/** The model of an entry. @throws InputError that names the study too */
function modelOf(model: string, source: string): ReturnType<typeof resolveModel> {
  try {
    return resolveModel(model);
  } catch (error) {
    throw error instanceof InputError ? new InputError(`${source}: models: ${error.message}`, error.hint) : error;
  }
}

function checkThreads(kernels: readonly KernelPreset[], threads: number, source: string): void {
  const single = kernels.find(({ singleThread }) => singleThread);
  if (single && threads !== 1) {
    throw new InputError(`${source}: threads: found ${threads}, expected 1 with kernels ${single.name}`);
  }
}

/** @throws InputError where two entries have one name */
function unique<T extends { name: string }>(entries: readonly T[], field: string, source: string): readonly T[] {
  const names = new Set<string>();
  for (const { name } of entries) {
    if (names.has(name)) throw new InputError(`${source}: ${field}: found two named ${JSON.stringify(name)}`);
    names.add(name);
  }
  return entries;
}
