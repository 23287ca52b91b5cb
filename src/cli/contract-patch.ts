/** What `patch` prints: cells, and what its other experiments find. */
import { z } from 'zod';
import { operationClasses } from '../graph/kernels.ts';
import { places } from '../graph/rounding.ts';
import { count, gateResults, measure } from './contract-parts.ts';

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

/** The result object of `patch`. */
export const patchResult = z.strictObject({
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
});
