/** What `diverge --explain` adds to the result of `diverge`. */
import { z } from 'zod';
import { count, measure, origin } from './contract-parts.ts';

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

export const explanation = z.strictObject({
  verdict: z.strictObject({
    cause: z.enum(['harness', 'storage', 'state-bug', 'benign-tie', 'kernel-shape', 'not-explained', 'equal']),
    rule: z.string().describe('the rule that gave it; rules apply in a fixed order'),
    sentence: z.string(),
  }),
  step: explainedStep.nullable().describe('null where there is none to explain'),
});
