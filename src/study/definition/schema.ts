/**
 * A study as a JSON file: factors whose every combination is a condition, the prompts, and what is measured beside the arms.
 * File names in it are relative to its own folder.
 */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { readJsonFile } from '../../checkpoint/json-file.ts';
import { kernelsSchema } from '../../graph/kernels.ts';
import { policySchema } from '../../graph/rounding.ts';
import { faultsSchema } from '../../model/faults.ts';
import { description, once, several, specName, unique } from '../../patching/specification/fields.ts';
import { parseJson } from '../../store/parse-json.ts';
import { defaultTemplate } from '../prompts.ts';
import { answerArms } from '../unit/unit-summary.ts';

const file = z.string().min(1);
const count = z.int().nonnegative();
const share = z.number().min(0).max(1);

const model = z.union(
  [
    file,
    z.strictObject({
      model: file.describe('an embedded model, or a checkpoint folder'),
      expandKv: z.boolean().default(false).describe('its K/V heads repeated to one per query head'),
    }),
  ],
  { error: 'an embedded model, a checkpoint folder, or {"model", "expandKv"}' },
);

const strategy = z.union(
  [
    z.string().min(1),
    z.strictObject({
      temperature: z.number().min(0).describe('0 is greedy'),
      topK: z.int().min(1).optional(),
      topP: z.number().gt(0).max(1).optional(),
      sampler: z.enum(['gumbel', 'inverse-cdf']).default('gumbel'),
      coupling: z
        .enum(['keyed', 'independent'])
        .default('keyed')
        .describe('`keyed`: both arms draw the same random numbers; `independent`: each its own'),
    }),
  ],
  {
    error:
      '"greedy", a name such as "t0.7-p0.9" or "t1.0-k50-inverse-cdf", or {"temperature", "topK", "topP", "sampler", "coupling"}',
  },
);

const prompts = z.strictObject({
  file: file.optional().describe('JSON Lines as GSM8K’s own; default: the problems of the embedded models'),
  limit: z.int().min(1).default(200).describe('the first so many'),
  template: z
    .string()
    .refine((text) => text.includes('{question}'), { error: 'a text that contains {question}' })
    .default(defaultTemplate)
    .describe('turns a question into a prompt'),
  fewShot: z
    .strictObject({
      file: file.describe('JSON Lines with "question" and "answer"'),
      count: z.int().min(1).optional().describe('so many; default all'),
      seed: z.int().nonnegative().optional().describe('draws `count` of them anew for each prompt; default: the first'),
    })
    .refine(({ count, seed }) => seed === undefined || count !== undefined, { error: '"count" beside "seed"' })
    .optional()
    .describe('worked examples before each question, divided by an empty line'),
  delimiter: z.string().default('').describe('between a worked example’s prompt and its answer'),
});

const answers = z.strictObject({
  extract: z
    .enum(['strict', 'flexible'])
    .default('strict')
    .describe('as lm-evaluation-harness’s gsm8k: the first `#### n`, or the last number'),
  stop: z.array(z.string().min(1)).default([]).describe('texts that end an arm’s text, beside the end token'),
});

const schema = z.strictObject({
  name: specName,
  description,
  models: several(model).refine(unique, once),
  strategies: several(strategy)
    .refine(unique, once)
    .default(['greedy', 't0.7-p0.9', 't1.0-k50'])
    .describe('how tokens are chosen'),
  precisions: several(z.union([file, policySchema], { error: 'a precision, a FILE.json, or a rounding policy' }))
    .refine(unique, once)
    .default(['fp16', 'fp32'])
    .describe('names, files or rounding policies; fp32 is the control'),
  kernels: several(z.union([file, kernelsSchema], { error: 'a preset, a FILE.json, or a kernel preset as an object' }))
    .refine(unique, once)
    .default(['ort'])
    .describe('kernel presets, files or objects'),
  padding: several(z.int().min(0).max(4096))
    .refine(unique, once)
    .default([0])
    .describe('rows of left padding of the cached arm, as in a batch of prompts of unlike length'),
  prompts: prompts.prefault({}).describe('what is asked'),
  answers: answers.prefault({}).describe('how texts end and answers are found'),
  arms: several(z.enum(answerArms))
    .refine(unique, once)
    .refine((arms) => arms.includes('cached') && arms.includes('uncached'), {
      error: '"cached" and "uncached" among them',
    })
    .default([...answerArms])
    .describe('`order-matched`: the cache in use, two rows per step, the prefill’s kernel'),
  seed: z.int().nonnegative().default(0).describe('of all draws'),
  maxNewTokens: z.int().min(2).max(1_000_000).default(150),
  ignoreEos: z.boolean().default(false).describe('go on after the end token'),
  decodeRows: z.int().min(1).max(4096).default(1).describe('rows each step of the cached arm recomputes'),
  threads: z.int().min(1).max(1024).default(1).describe('threads inside one operation'),
  profile: z
    .strictObject({ prompts: count.default(40).describe('the first so many of each condition; 0: none') })
    .prefault({})
    .describe('drift by layer: every hook is compared, and the residual stream of every layer becomes a row'),
  patching: z
    .strictObject({
      prompts: count.default(10).describe('the first so many of each condition; 0: none'),
      every: z.int().min(1).default(8).describe('every so many steps are patched, each by itself'),
      strategies: z
        .array(z.string().min(1))
        .optional()
        .describe('names of the strategies that are patched; default greedy, or the first'),
    })
    .prefault({})
    .describe('the 2×2 and the residual patch'),
  placebo: z
    .strictObject({
      arms: count.max(1000).default(19).describe('uncached arms whose sums run in other orders; 0: none'),
      prompts: count.optional().describe('the first so many of each condition; default all'),
      precisions: z.array(z.string().min(1)).optional().describe('names of half precisions; default all of them'),
    })
    .prefault({})
    .describe('the null of C2 and of suspect flips, for half precision'),
  temperatures: z
    .array(z.number().gt(0))
    .refine(unique, once)
    .default([0.25, 0.5, 0.7, 1, 1.5, 2])
    .describe('at which the total variation of the two arms is measured'),
  plant: z
    .strictObject({ faults: faultsSchema, share: share.default(1).describe('of the prompts, drawn from their ids') })
    .optional()
    .describe('faults in the cached arm, to see that they are found'),
});

/** A study with every default filled in. */
export type StudyDefinition = z.output<typeof schema>;
/** A study as it is written. */
export type StudyInput = z.input<typeof schema>;

/**
 * Check a study.
 * @param source where it comes from, for errors: a file
 * @throws InputError that names the field, what was found there and what was expected
 */
export function parseStudy(value: unknown, source: string): StudyDefinition {
  return parseJson(schema, value, source, { what: 'study', hint: 'docs/study.md describes the fields' });
}

/** Read a study file; the files it names are found from its folder. @throws InputError */
export function readStudy(path: string): StudyDefinition {
  const study = parseStudy(readJsonFile(path), path);
  const at = (name: string) => resolve(dirname(path), name);
  const { file, fewShot } = study.prompts;
  return {
    ...study,
    prompts: {
      ...study.prompts,
      ...(file === undefined ? {} : { file: at(file) }),
      ...(fewShot === undefined ? {} : { fewShot: { ...fewShot, file: at(fewShot.file) } }),
    },
    precisions: study.precisions.map((name) => (isJsonFile(name) ? at(name) : name)),
    kernels: study.kernels.map((name) => (isJsonFile(name) ? at(name) : name)),
  };
}

function isJsonFile(name: unknown): name is string {
  return typeof name === 'string' && name.endsWith('.json');
}

/** The schema as JSON Schema, for the documentation. */
export function studySchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}
