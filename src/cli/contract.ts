/**
 * The one definition of what `--json` prints, per command, and of the error object. Keys of the published contract are
 * marked as such in the generated documentation; programs may rely on them.
 */
import { z } from 'zod';
import { gateResultSchema } from '../divergence/gates/gate-result.ts';
import { explanation } from './contract-explain.ts';
import { count, gateResults, measure, origin, tokenIds } from './contract-parts.ts';
import { patchResult } from './contract-patch.ts';
import { studyResultSchema } from './contract-study.ts';

const side = z.strictObject({ token: count, text: z.string().nullable(), margin: measure, tie: z.boolean() });

const drift = z.strictObject({
  label: z.string().describe('embed, L0 …, final, logits'),
  bins: z.array(measure.nullable()).describe('relative L2 in u over 30 bins of steps; 0 is exactly 0, null is no step'),
  rms: measure,
  max: measure,
  added: measure.nullable().describe("what the layer's kernel adds by itself, in u"),
  equalShare: z.number().describe('share of steps in which not one bit differs'),
});

const armResult = z.strictObject({
  tokens: tokenIds.describe('new tokens only, the end token included'),
  text: z.string().nullable().describe('null without a tokenizer'),
  stop: z.string().describe('eos or length'),
});

/** The result object of every command. */
export const results = {
  models: z.strictObject({
    models: z.array(
      z.strictObject({
        name: z.string(),
        architecture: z.string(),
        parameters: count,
        bytes: count.describe('size of the checkpoint on disk'),
        accuracy: z
          .strictObject({ share: z.number().min(0).max(1), problems: count })
          .nullable()
          .describe('greedy accuracy on held-out problems; null if not measured'),
      }),
    ),
  }),
  pull: z.strictObject({
    folder: z.string().describe('the folder to use as MODEL'),
    repository: z.string(),
    revision: z.string(),
    commit: z.string().describe('what the revision stood for'),
    files: z.array(
      z.strictObject({
        name: z.string(),
        bytes: count,
        downloaded: count.describe('bytes that came over the network; 0: it was there'),
      }),
    ),
    unsupported: z
      .string()
      .nullable()
      .describe('why kvlens cannot use the checkpoint (exit code 3; the files are kept), else null'),
  }),
  export: z.strictObject({
    out: z.string().describe('the folder that was written'),
    files: z.array(z.string()).describe('its files, relative to it'),
    precision: z.string(),
    kernels: z.string(),
    expandedKv: z.boolean().describe('the graphs repeat the K/V heads to one per query head'),
  }),
  generate: z.strictObject({
    arms: z.strictObject({ cached: armResult.optional(), uncached: armResult.optional() }),
    diverged: z.boolean().nullable().describe('null if one arm ran'),
    firstDivergentStep: count.nullable().describe('0-based in new tokens; null if none or if one arm ran'),
    firstDifferentLogits: count
      .nullable()
      .describe('first step with a logit whose bits differ; null if none or if one arm ran'),
    prompt: z.strictObject({ id: z.string(), tokens: tokenIds }),
  }),
  capture: z.strictObject({
    run: z.string().describe('the run directory'),
    files: z.array(z.string()).describe('Arrow files with activations, relative to run'),
    hooks: z.array(z.string()).describe('full names, in execution order'),
    rows: count.describe('rows of all activation files'),
    tokens: tokenIds.describe('the new tokens'),
    gates: gateResults,
  }),
  diverge: z.strictObject({
    run: z.string().describe('the run directory'),
    prompts: count,
    steps: count.describe('teacher-forced steps; step 0 is excluded'),
    flips: count.nullable().describe('null if a harness gate failed, as every measured number'),
    flipRate: z.number().nullable().describe('flips / steps, teacher-forced'),
    divergedPrompts: count.nullable(),
    firstDivergence: origin.nullable(),
    gates: gateResults,
    verdict: z.enum(['equal', 'bits-differ', 'tokens-differ', 'not-valid']),
    model: z.string(),
    precision: z.string(),
    kernels: z.string(),
    strategy: z.string(),
    decodeRows: count,
    planted: z.array(z.string()).describe('faults that --plant put into the cached arm; empty in an honest run'),
    differingSteps: count.nullable().describe('steps in which at least one compared bit differs'),
    tieFlips: count.nullable().describe('flips with an exact tie in one arm'),
    firstFlipSteps: z.array(count).nullable(),
    kl: measure.nullable().describe('mean over counted steps of KL(uncached ‖ cached), nats; null without a step'),
    tv: measure.nullable().describe('mean total variation'),
    l2: measure.nullable().describe('mean L2 of the difference of mean-centred logits'),
    oracle: z.strictObject({ cached: measure, uncached: measure }).nullable(),
    drift: z.array(drift).nullable(),
    widestFlips: z
      .array(z.strictObject({ promptIndex: count, prompt: z.string(), step: count, uncached: side, cached: side }))
      .nullable(),
    origins: z.array(origin).nullable(),
    spotChecks: z.strictObject({ steps: count, failed: count }),
    explain: explanation.nullable().describe('of --explain; else null'),
  }),
  audit: z.strictObject({
    passed: z.boolean(),
    gates: z.array(gateResultSchema),
    hash: z.string().describe('how later runs on this machine quote this audit'),
    model: z.string(),
  }),
  patch: patchResult,
  study: studyResultSchema,
  report: z.strictObject({
    run: z.string().describe('the run directory'),
    verdict: z
      .enum(['yes', 'almost', 'no', 'not-valid'])
      .nullable()
      .describe('not-valid: a gate failed (exit code 1); null with --figures, and where the run compares no step'),
    answer: z.string().nullable().describe('the sentence at the top of the page'),
    report: z.string().nullable().describe('the page that was written'),
    bytes: count.nullable().describe('its size'),
    figures: z
      .strictObject({
        folder: z.string(),
        files: z.array(z.string()).describe('relative to folder'),
        missing: z.array(z.strictObject({ figure: z.string(), missing: z.string(), command: z.string() })),
        png: z.boolean().describe('false: no font was found, so that there is SVG alone'),
      })
      .nullable()
      .describe('of --figures'),
    url: z.string().nullable().describe('where --serve served it'),
  }),
} as const;

/** A command with a result object. */
export type ResultCommand = keyof typeof results;
export type Result<C extends ResultCommand> = z.infer<(typeof results)[C]>;

/** What `--json` prints instead of a result. */
export const errorResult = z.strictObject({
  error: z.strictObject({
    code: z.enum(['usage', 'input', 'failed', 'interrupted', 'internal']),
    message: z.string(),
    hint: z.string().nullable(),
  }),
});
export type ErrorResult = z.infer<typeof errorResult>;
