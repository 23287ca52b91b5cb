/** Check a parsed JSON value against a schema: what is wrong is one line that names the source, the field and the value. */
import type { z } from 'zod';
import { InputError } from '../errors.ts';

export interface JsonWords {
  /** What the value is, for example `spec`. */
  what: string;
  /** What to do about an error. */
  hint: string;
  /** The words that a union is told apart by, for example its `experiment`. */
  union?: readonly string[];
}

/**
 * The checked value.
 * @param source where it comes from, for errors: a file
 * @throws InputError that names the field, what was found there and what was expected
 */
export function parseJson<T extends z.ZodType>(
  schema: T,
  value: unknown,
  source: string,
  words: JsonWords,
): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]] : issue.path;
  const found = path.reduce<unknown>((at, key) => (isRecord(at) ? at[String(key)] : undefined), value);
  throw new InputError(
    `${source}: ${fieldName(path, words.what)}: ${foundText(found)}, ${expectation(issue, words)}`,
    words.hint,
  );
}

/** `patches[0].layers` */
function fieldName(path: readonly PropertyKey[], what: string): string {
  const name = path.reduce<string>(
    (name, key) => (typeof key === 'number' ? `${name}[${key}]` : `${name}.${String(key)}`),
    '',
  );
  return name === '' ? `the ${what}` : name.replace(/^\./, '');
}

function expectation(issue: z.core.$ZodIssue, { what, union = [] }: JsonWords): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return `which is no field of a ${what}`;
    case 'invalid_key':
      return `which is no field of a ${what}`;
    case 'invalid_type':
      return `expected ${typeNames[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `expected ${issue.values.map((word) => JSON.stringify(word)).join(', ')}`;
    case 'too_small':
      return issue.origin === 'array'
        ? 'expected at least one entry'
        : `expected a ${issue.origin === 'string' ? 'text' : 'number'} ${issue.inclusive === false ? 'above' : 'of at least'} ${issue.minimum}`;
    case 'too_big':
      return `expected at most ${issue.maximum}`;
    case 'invalid_union':
      return union.length === 0
        ? `expected ${issue.message.replace(/^Invalid discriminator value\. Expected /, '')}`
        : `expected ${union.map((name) => JSON.stringify(name)).join(', ')}`;
    default:
      return `expected ${issue.message}`;
  }
}

const typeNames: Record<string, string> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

function foundText(value: unknown): string {
  return value === undefined ? 'found nothing' : `found ${excerpt(value)}`;
}

/** The beginning of a value as JSON, for errors: at most 60 characters, whatever its length and depth. */
export function excerpt(value: unknown): string {
  const text = textOf(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

function textOf(value: unknown): string {
  try {
    const text = JSON.stringify(value, (_, item) => (isBeyond(item) ? `\0${item}\0` : item)) ?? String(value);
    return text.replaceAll(/"\\u0000(-?Infinity)\\u0000"/g, '$1');
  } catch {
    // Lists within lists, deeper than a call stack.
    return Array.isArray(value) ? 'a list' : 'an object';
  }
}

/** What `1e999` in a file is; JSON writes it as null. */
function isBeyond(value: unknown): value is number {
  return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
