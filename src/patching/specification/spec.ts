/**
 * Patch specs: what is replaced, by what, at which steps, and what is measured. The same in TypeScript and as a JSON file;
 * a run's manifest holds its spec.
 */
import { z } from 'zod';
import { readJsonFile } from '../../checkpoint/json-file.ts';
import { UsageError } from '../../errors.ts';
import { type JsonWords, parseJson } from '../../store/parse-json.ts';
import { armNames } from '../arms/trajectory.ts';
import { type AttributionSpec, attribution } from './attribution-spec.ts';
import { cleanCorrupted } from './clean-corrupted.ts';
import { description, isWhole, once, several, specName, unique } from './fields.ts';

/** An index, or a half-open range [start, end). */
export type Index = number | readonly [number, number];

/** Words for positions of a step of n tokens, p of them the prompt's: [0, p), [p, n), n − 1, [0, n − 1). */
export const positionWords = ['prompt', 'generated', 'last', 'history'] as const;
export type PositionWord = (typeof positionWords)[number];

const isIndex = (value: unknown): value is Index =>
  isWhole(value) || (Array.isArray(value) && value.length === 2 && value.every(isWhole) && value[0] < value[1]);
const isPosition = (value: unknown): value is Index | PositionWord =>
  isIndex(value) || positionWords.some((word) => word === value);

const index = z
  .custom<Index>(isIndex, { error: 'a whole number ≥ 0 or a range [start, end) with start < end' })
  .meta({ title: 'index or range' });
const position = z
  .custom<Index | PositionWord>(isPosition, {
    error: `a whole number ≥ 0, a range [start, end) with start < end, or one of ${positionWords.join(', ')}`,
  })
  .meta({ title: 'index, range or word' });
const step = z.int().min(1);

const patch = z
  .strictObject({
    hook: z
      .string()
      .min(1)
      .optional()
      .describe('GLOB of hooks: their values are replaced for the rows that the step runs. Or `cache`'),
    cache: z
      .enum(['k', 'v', 'both'])
      .optional()
      .describe(
        "rows of K, V or both: of the history, edited in the cache that is fed; the step's own row, as it is made",
      ),
    layers: several(index).optional().describe('indices and ranges; default all'),
    heads: several(index).optional().describe('heads of the hooks, or K/V heads of the cache; default all'),
    positions: several(position)
      .optional()
      .describe('absolute positions, ranges and words; default `["last"]` for hooks, `["history"]` for the cache'),
    rotary: z
      .enum(['after', 'before'])
      .default('after')
      .describe(
        'of `cache` k: K as it is stored, or before the rotary embedding, which is then applied as the graph does',
      ),
    from: z
      .enum([...armNames, 'zero', 'run'])
      .default('uncached')
      .describe('where values come from; `cached-rewrite`: the cached arm with one row more per step'),
    run: z
      .string()
      .min(1)
      .optional()
      .describe(
        'of `from` run: folder of a run with activations/*.arrow, matched by prompt, position, layer and token',
      ),
    arm: z.enum(['cached', 'uncached']).optional().describe('of `from` run: the arm to read there'),
  })
  .superRefine((value, context) => {
    const fault = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if ((value.hook === undefined) === (value.cache === undefined)) {
      fault('hook', 'either "hook" or "cache", exactly one of them');
    }
    if (value.rotary === 'before' && value.cache !== 'k') fault('rotary', '"after", or "cache": "k"');
    if (value.from === 'run' && value.run === undefined) fault('run', 'the folder of a run, as "from" is "run"');
    if (value.from === 'run' && value.arm === undefined) fault('arm', '"cached" or "uncached", as "from" is "run"');
    if (value.from !== 'run' && value.run !== undefined) fault('from', '"run", as "run" is given');
    if (value.from !== 'run' && value.arm !== undefined) fault('from', '"run", as "arm" is given');
  });

/** Which steps are patched: each of several by itself, all from one on, or all up to one and then none. */
const steps = z
  .strictObject({
    at: several(step).refine(unique, once).optional().describe('each of these by itself'),
    every: step.optional().describe('every so many steps from `from` (default 1) on, each by itself'),
    from: step.optional().describe('without `every`: this step and all later ones together'),
    until: several(step).refine(unique, once).optional().describe('steps 1 … s together, then no more, for each s'),
    release: z.literal(true).optional().describe('stands beside `until`'),
  })
  .superRefine(({ at, every, from, until, release }, context) => {
    const fault = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const kinds = [at, every ?? from, until].filter((given) => given !== undefined).length;
    if (kinds !== 1)
      context.addIssue({ code: 'custom', message: 'one of {"at"}, {"every", "from"}, {"from"}, {"until", "release"}' });
    if (until !== undefined && release === undefined)
      fault('release', 'true: what is patched up to a step is then released');
    if (until === undefined && release !== undefined) fault('until', 'the last patched step, as "release" is given');
  });

export const gridAxes = ['layer', 'hook', 'head', 'position', 'component'] as const;
export type GridAxis = (typeof gridAxes)[number];

const measure = z.strictObject({
  horizons: several(z.int().min(0))
    .refine(unique, once)
    .default([0, 1, 5, 20])
    .describe('steps after the patched one, or after the last of several; 0 is the patched step'),
  attribution: z
    .strictObject({
      parts: z
        .enum(['components', 'rows', 'heads'])
        .describe('K and V; first row, rest of the prompt, generated; heads'),
      samples: z.int().min(1).default(200).describe('orders to draw where there are too many parts for all of them'),
      seed: z.int().min(0).default(0),
    })
    .optional()
    .describe('Shapley values of parts of the history'),
});

/** The experiment on the two arms of a prompt. */
const arms = z
  .strictObject({
    experiment: z.literal('arms').describe('the two arms of one prompt'),
    name: specName,
    description,
    into: z.enum(['cached', 'uncached']).default('cached').describe('the arm that is patched'),
    history: several(z.enum(['cached', 'recomputed']))
      .refine(unique, once)
      .optional()
      .describe('what the patched steps read; with `kernel` the factors of the 2×2: every combination is a cell'),
    kernel: several(z.enum(['decode', 'prefill']))
      .refine(unique, once)
      .optional()
      .describe('how the patched steps compute; default, as of `history`: as the patched arm does'),
    prefixes: z.boolean().default(false).describe('recomputed history in the first layer, the first two, … too'),
    patches: z.array(patch).default([]).describe('applied together'),
    grid: several(z.enum(gridAxes))
      .refine(unique, once)
      .optional()
      .describe('one cell for each layer, head, … of the patches'),
    steps: steps.default({ every: 8 }).describe('decode steps, from 1, that are patched'),
    measure: measure.prefault({}).describe('what is measured'),
  })
  .superRefine((spec, context) => {
    const fault = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (spec.grid !== undefined && spec.patches.length === 0)
      fault(['patches'], 'at least one patch, as "grid" splits them');
    if (spec.prefixes && !spec.history?.includes('recomputed'))
      fault(['history'], '"recomputed" in it, as "prefixes" is true');
    const together =
      spec.steps.until !== undefined || (spec.steps.from !== undefined && spec.steps.every === undefined);
    if (spec.measure.attribution !== undefined && together)
      fault(
        ['measure', 'attribution'],
        'no such field, as "steps" patches several together: {"at"} or {"every"} there',
      );
    if (spec.into === 'cached') return;
    if (spec.measure.attribution !== undefined)
      fault(['measure', 'attribution'], 'no such field, as "into" is "uncached": it shares out the cached history');
    if (spec.history !== undefined)
      fault(['history'], 'no such field, as "into" is "uncached": that arm has one history');
    if (spec.kernel !== undefined) fault(['kernel'], 'no such field, as "into" is "uncached": that arm has one kernel');
    // The uncached arm recomputes everything: no patch of it outlives its step.
    if (spec.measure.horizons.some((horizon) => horizon > 0))
      fault(['measure', 'horizons'], '[0], as "into" is "uncached"');
    if (spec.steps.at === undefined && spec.steps.every === undefined)
      fault(['steps'], '{"at"} or {"every"}, as "into" is "uncached"');
  });

/** The experiments, by what `experiment` says. */
const experiments = { arms, attribution, 'clean-corrupted': cleanCorrupted } as const;
const schema = z.discriminatedUnion('experiment', [
  experiments.arms,
  experiments.attribution,
  experiments['clean-corrupted'],
]);

/** A spec with every default filled in. */
export type PatchSpec = z.output<typeof schema>;
/** A spec as it is written. */
export type PatchSpecInput = z.input<typeof schema>;
/** A spec of the experiment on the two arms. */
export type ArmsSpec = z.output<typeof arms>;
export type ArmsSpecInput = z.input<typeof arms>;
export type PatchOfSpec = ArmsSpec['patches'][number];

/**
 * Check a spec.
 * @param source where it comes from, for errors: a file
 * @throws InputError that names the field, what was found there and what was expected.
 */
export function parsePatchSpec(value: unknown, source: string): PatchSpec {
  return parseJson(schema, value, source, words);
}

const words: JsonWords = {
  what: 'spec',
  hint: 'docs/patching.md describes the fields',
  union: Object.keys(experiments),
};

/** A spec of the experiment on the two arms. @throws UsageError for another's */
export function armsSpec(spec: PatchSpec): ArmsSpec {
  if (spec.experiment === 'arms') return spec;
  throw new UsageError(`${spec.name}: experiment: found "${spec.experiment}", expected "arms"`);
}

/** A spec of the experiment that shares the drift out. @throws UsageError for another's */
export function attributionSpec(spec: PatchSpec): AttributionSpec {
  if (spec.experiment === 'attribution') return spec;
  throw new UsageError(`${spec.name}: experiment: found "${spec.experiment}", expected "attribution"`);
}

/** The schema of each experiment as JSON Schema, for the documentation. */
export function patchSpecSchemas(): [experiment: string, schema: z.core.JSONSchema.BaseSchema][] {
  return Object.entries(experiments).map(([name, one]) => [
    name,
    z.toJSONSchema(one, { io: 'input', unrepresentable: 'any' }),
  ]);
}

/** Read and check a spec file. @throws InputError */
export function readPatchSpec(file: string): PatchSpec {
  return parsePatchSpec(readJsonFile(file), file);
}
