/** One condition of a study as `--json` prints it. */
import { z } from 'zod';
import { answerArms } from '../study/unit/unit-summary.ts';
import { count, measure } from './contract-parts.ts';

const share = z.number().min(0).max(1);

/** A figure and its 95 % interval. */
export const measured = z
  .strictObject({ value: z.number(), lower: z.number().nullable(), upper: z.number().nullable() })
  .meta({ title: '`{value, lower, upper}`' });

const accuracy = z.strictObject({
  arms: z.array(
    z.strictObject({
      arm: z.enum(answerArms),
      n: count.describe('prompts with a judged answer'),
      right: count,
      share: measured.describe('Wilson’s interval'),
    }),
  ),
  paired: z
    .strictObject({
      prompts: count,
      cachedOnly: count.describe('discordant pairs: only this arm is right'),
      uncachedOnly: count,
      p: share.describe('exact McNemar, two-sided'),
      adjustedP: share.describe('by Holm over the conditions of the same precision and kernels'),
      family: count.describe('how many conditions that are'),
      difference: measured.describe('share right, cached minus uncached; Tango’s interval'),
      neededDiscordant: count.describe('discordant pairs without which no p can pass Holm’s first step'),
      testable: z.boolean(),
    })
    .nullable()
    .describe('null where no prompt is judged in both arms'),
});

const divergence = z.strictObject({
  diverged: count.describe('texts that part, running free'),
  equalToEnd: count.describe('identical to the end of both texts'),
  equalAtLimit: count.describe('identical when the limit of new tokens or the context ended them'),
  share: measured.describe('Wilson’s interval; without one that diverged, up to 1 − 0.05^(1/n)'),
});

const firstDivergence = z.strictObject({
  incidence: z
    .array(z.strictObject({ step: count, diverged: share, ended: share, atRisk: count }))
    .describe('cumulative incidence (Aalen–Johansen): the end of a text competes, the limit censors'),
  at: z.array(z.strictObject({ step: count, diverged: measured })).describe('the same at a few steps'),
  median: measured
    .nullable()
    .describe(
      'first step at which half have diverged; null, also as an end of the interval, where that is not reached',
    ),
  margins: z
    .strictObject({
      count,
      min: measure.nullable(),
      median: measure.nullable(),
      max: measure.nullable(),
    })
    .nullable()
    .describe('lead of the uncached arm’s choice at the first flip, in logits'),
  withoutMargin: count.describe('first flips that have no margin (inverse-CDF)'),
  boundary: count.describe('first flips that the cut of top-k or top-p decided'),
  ties: count.describe('first flips with an exact tie'),
  unexplained: count.describe('texts that part at another step than their first teacher-forced flip'),
  suspectAbove: measure.nullable().describe('99.9 % quantile of the placebo’s drift, in logits; null without one'),
  suspects: count.nullable().describe('first flips of a larger margin'),
  notExplained: z
    .strictObject({
      withoutPlacebo: count.describe('their prompt has no placebo of its own'),
      withinPlacebo: count.describe('the placebo of their own prompt leans as far'),
    })
    .nullable()
    .describe('suspects that are not run again to explain them'),
  widest: z
    .array(
      z.strictObject({
        prompt: z.string(),
        step: count,
        margin: measure.nullable(),
        suspect: z.boolean().nullable(),
        planted: z.boolean(),
      }),
    )
    .describe('first flips of the widest margin, at most ten'),
});

const flips = z.strictObject({
  flips: count.describe('teacher-forced steps in which the arms choose different tokens'),
  ties: count.describe('of them exact ties'),
  boundary: count.describe('of them decided by the cut of top-k or top-p, ties excepted'),
  perToken: measured.nullable().describe('bootstrap by prompt; 0 has no upper end: see `none`'),
  plainPerToken: measured.nullable().describe('the same without ties and cuts'),
  none: z
    .strictObject({
      prompts: share.describe('share of prompts with a flip, at most: 1 − 0.05^(1/prompts)'),
      steps: share.describe('flips per step, at most, if steps were independent'),
    })
    .nullable()
    .describe('without a flip: what 95 % rules out'),
});

const greedy = z.strictObject({
  kind: z.literal('greedy'),
  steps: count,
  observed: count,
  predicted: z.number().describe('Σ Φ(−margin/σ), σ from the steps of all other prompts'),
  ratio: measured.nullable().describe('observed / predicted'),
  calibration: z.array(
    z.strictObject({
      from: share,
      to: share,
      steps: count,
      predicted: z.number(),
      observed: measured,
      flips: count,
    }),
  ),
  auc: z.number().nullable().describe('null below 10 flips'),
  tied: z.strictObject({ steps: count, flips: count }).describe('steps with an exact tie in the uncached arm'),
});

const sampled = z.strictObject({
  kind: z.literal('sampled'),
  coupling: z.enum(['gumbel', 'inverse-cdf', 'independent']),
  observed: measured.nullable(),
  lower: measured.nullable().describe('mean TV of the processed distributions'),
  upper: measured.nullable().describe('mean of 2 TV / (1 + TV)'),
  within: z.boolean().nullable().describe('null where the coupling has no bounds'),
});

const drift = z.strictObject({
  l2: measured.nullable().describe('of mean-centred logits'),
  kl: measured.nullable().describe('KL(uncached ‖ cached), nats'),
  js: measured.nullable(),
  tv: measured.nullable(),
});

const armErrors = z
  .strictObject({
    prompts: count,
    steps: count,
    cached: measured.nullable(),
    uncached: measured.nullable(),
    ratio: measured.nullable().describe('cached / uncached'),
    closer: z.enum(['cached', 'uncached', 'neither']).nullable(),
  })
  .nullable();

const layerPart = z
  .strictObject({ mean: measured.nullable(), share: share.nullable() })
  .nullable()
  .describe('null where not measured');

const layer = z.strictObject({
  layer: z.int().describe('−1: embedding; n layers: final norm'),
  prompts: count,
  steps: count,
  equalShare: share.describe('of steps in which no bit differs'),
  rms: measure.nullable().describe('of the relative L2'),
  mean: measured.nullable(),
  added: layerPart,
  viaHistory: layerPart,
  viaResidual: layerPart,
});

const cell = z.strictObject({
  spec: z.string().describe('two-by-two or residual'),
  history: z.string(),
  kernel: z.string(),
  hook: z.string(),
  horizon: count,
  prompts: count,
  cells: count.describe('that count'),
  vacuous: count.describe('left out: nothing to recover'),
  byConstruction: count.describe('left out: could not come out otherwise'),
  harmful: count,
  exact: count.describe('no logit differs from the uncached arm'),
  recovery: measured.nullable().describe('1 − Σ patched / Σ unpatched distance'),
});

const conditionResults = z.strictObject({
  prompts: count,
  steps: count.describe('teacher-forced; step 0 is excluded'),
  differingSteps: count.describe('of them with a logit whose bits differ'),
  planted: count.describe('prompts with a planted fault'),
  accuracy,
  divergence,
  firstDivergence,
  flips,
  prediction: z.union([greedy, sampled]).nullable().describe('what the drift’s size says of the flips'),
  drift: drift.describe('means per step'),
  reference: z
    .strictObject({ oracle: armErrors, single: armErrors, double: armErrors })
    .describe('each arm’s mean L2 to the run’s oracle, and to the unrounded checkpoint in fp32 and fp64'),
  layers: z.array(layer).nullable().describe('of profiled prompts'),
  cells: z.array(cell).describe('the 2×2 and the residual patch'),
  orderMatched: z
    .strictObject({
      prompts: count,
      steps: count,
      differingElements: count.describe('logits and K/V elements'),
      distance: measure.nullable().describe('mean L2 per step'),
      ordinary: measure.nullable().describe('of ordinary decoding of the same prompts'),
    })
    .nullable()
    .describe('the cache in use, two rows per step'),
  temperatures: z
    .array(z.strictObject({ temperature: z.number(), tv: measured.nullable(), upper: measured.nullable() }))
    .describe('bounds of a keyed Gumbel-max flip rate'),
  placebo: z
    .strictObject({
      prompts: count,
      seeds: count,
      samples: count,
      drift: measure.nullable().describe('99.9 % quantile, in logits'),
      bins: z.array(z.tuple([measure, count])).describe('the histogram: upper edge in logits, and how many'),
      texts: count.describe('prompts × seeds'),
      diverged: count,
    })
    .nullable()
    .describe('the uncached arm against itself summed in other orders'),
  uncached: z
    .strictObject({ checked: count, failed: count, recomputed: count, steps: count })
    .describe('steps recomputed in full'),
  nonfinite: z.strictObject({ elements: count, nan: count, hooks: z.array(z.string()) }),
});

/** What is judged together. */
export const setting = {
  precision: z.string(),
  kernels: z.string(),
  padding: count.describe('rows of left padding of the cached arm'),
  coupling: z.enum(['keyed', 'independent']).describe('keyed: both arms draw the same random numbers'),
};

export const conditionSchema = z.strictObject({
  index: count,
  condition: z.string().describe('model/precision/kernels/strategy'),
  model: z.string(),
  family: z.string(),
  ...setting,
  strategy: z.string(),
  failedGates: z.array(z.string()).describe('of its model, precision and kernels'),
  gatesNotRun: z.array(z.string()),
  results: conditionResults.nullable().describe('null where a harness gate failed'),
});
