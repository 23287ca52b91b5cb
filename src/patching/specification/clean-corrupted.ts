/**
 * The experiment on two prompts: the corrupted one runs with single values of the clean one. Grids bear TransformerLens's
 * names, see `sweep/targets.ts`.
 */
import { z } from 'zod';
import { isTargetName, type TargetName, targetNames } from '../sweep/targets.ts';
import { description, isWhole, once, several, specName, unique } from './fields.ts';

/** A token: its id, or a text that is one token. */
export type TokenOfSpec = number | string;
/** A prompt: a text, or token ids as they are. */
export type PromptOfSpec = string | readonly number[];
/** What a cell is judged by, at the last position. */
export type MetricOfSpec =
  | 'logitDistance'
  | 'klDivergence'
  | { readonly logitDiff: readonly [answer: TokenOfSpec, wrong: TokenOfSpec] };

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
const isPrompt = (value: unknown): value is PromptOfSpec =>
  isText(value) || (Array.isArray(value) && value.length > 0 && value.every(isWhole));
const isMetric = (value: unknown): value is MetricOfSpec => {
  if (value === 'logitDistance' || value === 'klDivergence') return true;
  if (typeof value !== 'object' || value === null || Object.keys(value).join() !== 'logitDiff') return false;
  const pair: unknown = 'logitDiff' in value ? value.logitDiff : null;
  return Array.isArray(pair) && pair.length === 2 && pair.every((token) => isText(token) || isWhole(token));
};

const prompt = z
  .custom<PromptOfSpec>(isPrompt, { error: 'a text, or a list of token ids' })
  .meta({ title: 'text or list of token ids' });
const grid = z
  .custom<TargetName>(isTargetName, { error: `one of ${targetNames.join(', ')}` })
  .meta({ title: targetNames.map((name) => `\`"${name}"\``).join(', ') });
const metric = z
  .custom<MetricOfSpec>(isMetric, {
    error: '"logitDistance", "klDivergence" or {"logitDiff": [answer, wrong]} with two tokens, each an id or a text',
  })
  .meta({ title: '`"logitDistance"`, `"klDivergence"` or `{"logitDiff": [answer, wrong]}`' });

export const cleanCorrupted = z.strictObject({
  experiment: z.literal('clean-corrupted').describe('two prompts: the corrupted one with values of the clean one'),
  name: specName,
  description,
  clean: prompt.describe('the prompt that values come from; a text is tokenised as a prompt is, BOS included'),
  corrupted: prompt.describe('the prompt that is patched, of as many tokens'),
  grids: several(grid).refine(unique, once).describe("what is patched, by TransformerLens's names: a cell each"),
  metric: metric
    .default('logitDistance')
    .describe('what a cell is judged by, at the last position; tokens are ids, or texts that are one token'),
});

/** A clean/corrupted spec with every default filled in. */
export type CleanCorruptedSpec = z.output<typeof cleanCorrupted>;
