/**
 * The one definition of what `--json` prints, per command, and of the error object. Keys of the published contract are
 * marked as such in the generated documentation; programs may rely on them.
 */
import { z } from 'zod';
import { gateResultSchema } from '../divergence/gates/gate-result.ts';
import { operationClasses } from '../graph/kernels.ts';
import { places } from '../graph/rounding.ts';

/** A measured number; JSON has no NaN and no infinity, so those are words. */
const measure = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity'])]);
const count = z.int().nonnegative();
const tokenIds = z.array(count);

const gateResults = z.strictObject({
  passed: z.boolean(),
  failed: z.array(z.string()).describe('names of the gates that failed'),
  results: z.array(gateResultSchema),
});

const origin = z.strictObject({
  prompt: z.string().describe('id of the prompt'),
  step: count,
  hook: z.string().describe('full name of the first output that differs'),
  operation: z.string().describe('the operation that computes it, whose inputs are all bit-equal'),
  promptIndex: count,
  layer: z.int(),
  head: count.nullable(),
  nDiffer: count,
  nElements: count,
  maxUlp: measure,
  readsCache: z.boolean(),
});

const side = z.strictObject({ token: count, text: z.string().nullable(), margin: measure, tie: z.boolean() });

const drift = z.strictObject({
  label: z.string().describe('embed, L0 …, final, logits'),
  bins: z.array(measure.nullable()).describe('relative L2 in u over 30 bins of steps; 0 is exactly 0, null is no step'),
  rms: measure,
  max: measure,
  added: measure.nullable().describe("what the layer's kernel adds by itself, in u"),
  equalShare: z.number().describe('share of steps in which not one bit differs'),
});

const tokenText = { token: count, text: z.string().nullable() };
const explainedArm = z.strictObject({
  ...tokenText,
  margin: measure,
  tie: z.boolean(),
  top: z.array(z.strictObject({ ...tokenText, logit: measure })).describe('largest raw logits, at most five'),
});

const stateFault = z.strictObject({
  kind: z.enum([
    ...(['scaled row', 'stale row', 'rewritten row', 'narrower store'] as const),
    ...(['wrong position', 'wrong mask', 'wrong token', 'other'] as const),
  ]),
  step: count.describe('the first step that shows it'),
  hook: z.string().describe("the first hook that is not what the step's inputs give"),
  layer: z.int(),
  heads: z.array(count),
  row: count.describe('position of the row'),
  component: z.enum(['k', 'v']).nullable(),
  detail: z.string(),
  factor: z.strictObject({ value: measure, low: measure, high: measure }).optional(),
  holds: count.optional().describe('position whose row it holds'),
  type: z.string().optional().describe('storage type of a narrower store'),
  offset: z.int().optional(),
  hidden: z.array(count).optional().describe('keys that the mask hides and should not'),
  shown: z.array(count).optional().describe('keys that it shows and should not'),
  otherRows: count,
});

const explainedStep = z.strictObject({
  prompt: z.string().describe('id of the prompt'),
  promptIndex: count,
  step: count,
  position: count,
  flip: z.boolean(),
  context: z.array(z.strictObject(tokenText)).describe('the newest tokens that were read'),
  uncached: explainedArm,
  cached: explainedArm,
  drift: z.strictObject({
    l2: measure.describe('L2 of the difference of mean-centred logits'),
    maxAbs: measure,
    pair: measure.nullable().describe('how far the two chosen logits move against each other; null without a flip'),
  }),
  predicted: z
    .strictObject({
      sigma: measure.describe('√2 · rms of L2 / √d_vocab of the steps it is predicted from'),
      largest: measure.describe('2 · max |Δz| of those steps'),
      steps: count,
      prompts: count,
      from: z.enum(['other prompts', 'other steps']),
      inside: z.boolean().describe("the uncached arm's margin is not larger than largest"),
    })
    .nullable(),
  firstOrigin: origin.nullable().describe('first differing operation of the prompt'),
  stepOrigin: origin.nullable().describe('first differing operation of this step'),
  cells: z.array(
    z.strictObject({
      ...tokenText,
      history: z.enum(['cached', 'recomputed']),
      kernel: z.enum(['decode', 'prefill']),
      l2: measure.describe('of mean-centred logits to the uncached arm'),
      exact: z.boolean(),
    }),
  ),
  orderMatched: z
    .strictObject({ exact: z.boolean(), differ: count, elements: count, first: origin.nullable() })
    .describe('two rows under the kernel of the uncached arm, with the same state, against recomputation'),
  state: stateFault.nullable().describe('where the cached arm parts from its own steps run again; null if nowhere'),
  later: stateFault.nullable().describe('the same of a later step of the prompt, which cannot have caused this one'),
  reproduction: z.strictObject({
    folder: z.string().nullable().describe('holds reproduce.mjs; null if none was written'),
    what: z.string().describe('the operation and its two cases, or why none was written'),
  }),
});

const explanation = z.strictObject({
  verdict: z.strictObject({
    cause: z.enum(['harness', 'storage', 'state-bug', 'benign-tie', 'kernel-shape', 'not-explained', 'equal']),
    rule: z.string().describe('the rule that gave it; rules apply in a fixed order'),
    sentence: z.string(),
  }),
  step: explainedStep.nullable().describe('null where there is none to explain'),
});

const armResult = z.strictObject({
  tokens: tokenIds.describe('new tokens only, the end token included'),
  text: z.string().nullable().describe('null without a tokenizer'),
  stop: z.string().describe('eos or length'),
});

const horizon = z.strictObject({
  horizon: count.describe('steps after the patched one'),
  recovery: measure.nullable(),
  low: measure.nullable().describe('95 %, bootstrap by prompt; null below two prompts'),
  high: measure.nullable(),
  recoveryKl: measure.nullable().describe('the same of the KL divergence: quadratic, not comparable'),
  distanceBase: measure.describe('summed over prompts and steps, L2 of mean-centred logits'),
  distancePatched: measure,
  count: count.describe('prompts × steps that were measured'),
  exact: count,
  vacuous: count.describe('nothing to recover and nothing broken'),
  harmful: count.describe('nothing to recover, but the patch made a difference'),
  byConstruction: count.describe('could not come out otherwise'),
});

const cell = z.strictObject({
  history: z.enum(['cached', 'recomputed']),
  kernel: z.enum(['decode', 'prefill']),
  patch: z.string().describe('what is patched, in words; none'),
  recovery: measure
    .nullable()
    .describe('1 − Σ patched / Σ unpatched distance at the first horizon; null where there is nothing to recover'),
  exact: z.boolean().describe('no logit differs from the uncached arm, in any step at the first horizon'),
  hook: z.string(),
  layer: z.int().describe('last layer that is patched; −1 for none'),
  firstLayer: z.int(),
  head: count.nullable(),
  component: z.enum(['k', 'v', 'both', 'value']),
  age: count.nullable().describe('of a grid by position: tokens before the newest one'),
  count: count.describe('prompts × steps'),
  unchanged: count.describe('of them: the patch changed no element'),
  horizons: z.array(horizon),
  tokens: z
    .strictObject({
      flips: count.describe('patched steps whose token was another than the uncached one'),
      returned: count.describe('of them: with the patch it is the uncached one'),
      follows: z.number().nullable().describe('mean tokens that follow the uncached arm, up to the largest horizon'),
      followsBase: z.number().nullable().describe('the same without the patch'),
    })
    .describe('what becomes of the tokens'),
  cleanCorrupted: z
    .strictObject({
      positions: z.array(count).describe('[start, end) of the patched rows; of a pattern the destinations'),
      source: count.nullable().describe('of one entry of a pattern: the position it reads'),
      metric: measure.describe("the spec's metric of the patched run"),
      metricRecovery: measure.nullable().describe('0 as the corrupted run, 1 as the clean run'),
    })
    .nullable()
    .describe('of a clean-corrupted experiment, where the clean run stands for the uncached arm; else null'),
});

const inD = 'mean over decode steps, L2 of mean-centred logits';

const classes = z.strictObject({
  history: z.enum(['recomputed', 'cached']).describe('what each step reads: one step’s error, or a whole decode'),
  all: measure.describe(`drift with every class on the decode kernel: ${inD}`),
  none: measure.describe('drift with none: 0'),
  parts: z.array(
    z.strictObject({
      class: z.enum(operationClasses),
      shapley: measure.describe('these sum to all − none'),
      share: measure.nullable(),
      low: measure.nullable().describe('of the share: 95 %, bootstrap by prompt; null below two prompts'),
      high: measure.nullable(),
      oneIn: measure.describe('drift with this class alone'),
      leaveOneOut: measure.describe('all − drift with all others'),
    }),
  ),
});

const placesResult = z.strictObject({
  all: measure.describe(`drift of the policy: ${inD}`),
  none: measure.describe('drift where everything is float32'),
  parts: z.array(
    z.strictObject({
      place: z.enum(places),
      oneIn: measure.describe('drift where this place alone rounds'),
      leaveOneOut: measure.describe('drift where all others do'),
    }),
  ),
});

const amplification = z.strictObject({
  layers: z.array(
    z.strictObject({
      layer: count.describe('the last is the final norm and unembedding'),
      actual: measure.nullable().describe('‖δ out‖ / ‖δ in‖ of the difference there is; null where none enters'),
      random: measure.nullable().describe('… of random ones of that size'),
      steps: count.describe('steps in which a difference enters'),
    }),
  ),
  observed: measure.describe('drift of the logits, root mean square over steps'),
  predictedActual: measure.describe('the same from the gains of actual differences'),
  predictedRandom: measure,
});

const nullResult = z.strictObject({
  null: z.enum(['placebo', 'random-ulp']),
  seeds: count,
  mean: measure.describe(`drift of the null’s runs: ${inD}`),
  q95: measure.describe('quantile over seeds and steps'),
  q999: measure,
  max: measure,
  ceiling: measure.describe('largest mean of a seed’s run'),
  observed: measure.describe('mean drift of the cached arm'),
  below: count.describe('seeds whose run drifts less than the cached arm, in the mean'),
  beyond: count.describe('steps whose observed drift exceeds q999'),
  classes: z.array(z.enum(operationClasses)).describe('of the placebo: classes that were permuted, on some prompt'),
  unaffected: count.describe(
    'of the placebo: prompts on which no class was, as the kernel changes no bit there; D is 0',
  ),
  flipped: measure.nullable().describe('of random-ulp: elements moved per step'),
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
  patch: z.strictObject({
    run: z.string().describe('the run directory'),
    cells: z.array(cell).describe('of experiment `arms`; empty if a harness gate or an exactness check failed'),
    gates: gateResults.describe('the gates, and the exactness checks of the patch path'),
    spec: z.string().describe('name of the spec'),
    model: z.string(),
    precision: z.string(),
    kernels: z.string(),
    strategy: z.string(),
    decodeRows: count,
    prompts: count,
    steps: count.describe('decode steps of all prompts'),
    patchedSteps: count.describe('decode steps at which something was patched, or that were attributed'),
    baselines: z
      .strictObject({
        metric: z.string().describe('logit-diff, kl-divergence or logit-distance'),
        clean: measure.describe('the metric of the clean run'),
        corrupted: measure,
        distance: measure.describe('L2 of mean-centred logits, corrupted to clean run'),
        kl: measure.describe('KL(clean ‖ corrupted), nats'),
        differing: z.array(count).describe('positions whose tokens differ'),
      })
      .nullable()
      .describe('of a clean-corrupted experiment whose gates held; else null'),
    attribution: z
      .array(z.strictObject({ part: z.string(), value: measure, share: measure.nullable() }))
      .describe('Shapley values of parts of the history, if the spec asks for them'),
    spotChecks: z.strictObject({ steps: count, failed: count }),
    planted: z.array(z.string()).describe('faults that --plant put into the cached arm; empty in an honest run'),
    classes: z.array(classes).describe('of experiment `attribution`, as what follows; empty if not asked for'),
    places: placesResult.nullable(),
    amplification: amplification.nullable(),
    nulls: z.array(nullResult),
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

/** A number as the contract writes it. */
export function toMeasure(value: number): z.infer<typeof measure> {
  if (Number.isFinite(value)) return value;
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? 'Infinity' : '-Infinity';
}
