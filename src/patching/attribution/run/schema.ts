/** What a journal holds of a prompt, checked when it is read again. */
import { z } from 'zod';
import { places } from '../../../graph/rounding.ts';
import { checkCounts, numberSchema as number } from '../../run/patched-schema.ts';
import { everySubset } from '../class-game.ts';
import type { AttributedPrompt } from './prompt.ts';

const count = z.int().nonnegative();
const bySeed = { seeds: z.array(count), distances: z.array(z.array(number)) };
const layer = z.strictObject({
  ...{ layer: count, entering: number, leaving: number, added: number, viaHistory: number },
  random: z.array(z.strictObject({ entering: number, leaving: number })),
});

const schema: z.ZodType<AttributedPrompt> = z.strictObject({
  ...{ index: count, prompt: z.string(), tokens: z.array(count), steps: count, observed: z.array(number) },
  classes: z.array(
    z.strictObject({ history: z.enum(['recomputed', 'cached']), worth: z.array(number).length(everySubset.length) }),
  ),
  places: z
    .strictObject({
      ...{ all: number, none: number },
      shares: z.array(z.strictObject({ place: z.enum(places), oneIn: number, leaveOneOut: number })),
    })
    .nullable(),
  amplification: z.strictObject({ steps: z.array(z.array(layer)), observed: z.array(number) }).nullable(),
  placebo: z.strictObject({ ...bySeed, classes: z.array(z.string()) }).nullable(),
  randomUlp: z.strictObject({ ...bySeed, flipped: z.array(count) }).nullable(),
  checks: z.strictObject({ 'no-class': checkCounts, 'all-places': checkCounts, 'layer-replay': checkCounts }),
  spotChecks: z.strictObject({ steps: count, failed: count }),
});

/** @throws if it is not the result of a prompt */
export function parseAttributed(value: unknown): AttributedPrompt {
  return schema.parse(value);
}
