/** Pieces that the schemas of all experiments share. */
import { z } from 'zod';

export const specName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'a name of lower-case letters, digits and "-", at most 64');

/** Shown on terminals and in figures: nothing that could steer either. */
export const description = z
  .string()
  .regex(/^[^\p{Control}\p{Format}\p{Surrogate}\u2028\u2029]*$/u, 'a line of text without control characters')
  .optional()
  .describe('shown under the title');

/** A list of at least one entry. */
export const several = <T extends z.ZodType>(item: T) => z.array(item).min(1);

export const unique = (values: readonly unknown[]) => new Set(values).size === values.length;
export const once = { error: 'each entry once' };

export const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
