/**
 * Prompts of a run: from a JSON Lines file in GSM8K's form, or from the command line, to token ids that fit the model.
 *
 * An id, never an index, names a prompt: random draws are keyed by it, so that shards, `--limit` and merges agree.
 */
import { createHash } from 'node:crypto';
import type { Tokenizer } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { readLines } from './prompt-lines.ts';

/** One prompt, ready to run. */
export interface Prompt {
  /** Its `id`, else the first 12 hex digits of the sha256 of its line. */
  id: string;
  /** 0-based place in the run. */
  index: number;
  /** What was tokenised; null where token ids were given. */
  text: string | null;
  tokens: number[];
  /** The answer after `####`, without thousands separators; null where none is given. */
  gold: string | null;
  /** Forced next tokens; null: the uncached arm chooses. */
  continuation: number[] | null;
}

/** What a prompt must fit. */
export interface PromptTarget {
  tokenizer: Tokenizer | null;
  vocabSize: number;
  /** The context: rows a sequence may have. */
  maxPositions: number;
}

export interface PromptFileOptions {
  /** Turns a question into a prompt. */
  template: string;
  /** File of worked examples, or null. */
  fewShot: string | null;
  /** Read at most this many prompts. */
  limit: number | null;
}

/** What `--template` is when it is not given. */
export const defaultTemplate = '{question}\n';

/**
 * The prompts of a JSON Lines file.
 * @throws InputError naming file and line, the value found and what was expected.
 */
export function readPromptFile(file: string, options: PromptFileOptions, target: PromptTarget): Prompt[] {
  checkTemplate(options.template);
  const prefix = options.fewShot === null ? '' : fewShotPrefix(options.fewShot, options.template);
  const prompts: Prompt[] = [];
  const lineOf = new Map<string, number>();
  for (const line of readLines(file)) {
    if (options.limit !== null && prompts.length >= options.limit) break;
    const where = `${file}:${line.number}`;
    const record = parseRecord(line.text, where);
    const id = record.id ?? sha256Prefix(line.text);
    const earlier = lineOf.get(id);
    if (earlier !== undefined) {
      const hint = record.id === null ? 'the two lines are equal; give them different "id"s to run both' : undefined;
      throw new InputError(`${where}: duplicate prompt id "${id}", first used on line ${earlier}`, hint);
    }
    lineOf.set(id, line.number);
    const text = record.question === null ? record.prompt : prefix + fillTemplate(options.template, record.question);
    const tokens = record.tokens ?? tokenize(text ?? '', target, where);
    const { gold, continuation } = record;
    prompts.push(checkPrompt({ id, index: prompts.length, text, tokens, gold, continuation }, target, where));
  }
  if (prompts.length === 0) throw new InputError(`${file}: found no prompt, expected at least one line of JSON`);
  return prompts;
}

/** `--prompt TEXT`, verbatim. */
export function promptFromText(text: string, target: PromptTarget): Prompt {
  if (text === '') throw new InputError('--prompt: found an empty text, expected at least one character');
  return promptOf(text, { id: sha256Prefix(text), index: 0 }, target, '--prompt');
}

/** `--tokens 1,403,…`, as they are: no BOS is added. */
export function promptFromTokens(tokens: readonly number[], target: PromptTarget): Prompt {
  return promptOf(tokens, { id: sha256Prefix(tokens.join()), index: 0 }, target, '--tokens');
}

/** A text, verbatim, or token ids as they are. @param where names it in errors @throws InputError */
export function promptOf(
  input: string | readonly number[],
  name: Pick<Prompt, 'id' | 'index'>,
  target: PromptTarget,
  where: string,
): Prompt {
  const text = typeof input === 'string' ? input : null;
  const tokens = typeof input === 'string' ? tokenize(input, target, where) : [...input];
  return checkPrompt({ ...name, text, tokens, gold: null, continuation: null }, target, where);
}

/**
 * `--prefill N`: the first N given tokens stay the prompt, the rest becomes the forced continuation.
 * @throws InputError for a prompt that has no token left to force, or that brings its own continuation.
 */
export function splitAtPrefill(prompts: readonly Prompt[], prefill: number): Prompt[] {
  return prompts.map((prompt) => {
    if (prompt.continuation !== null) {
      throw new InputError(`--prefill: prompt "${prompt.id}" has a "continuation" already, expected one of the two`);
    }
    if (prefill >= prompt.tokens.length) {
      throw new InputError(
        `--prefill: found ${prefill}, expected fewer than the ${prompt.tokens.length} tokens of prompt "${prompt.id}"`,
      );
    }
    return { ...prompt, tokens: prompt.tokens.slice(0, prefill), continuation: prompt.tokens.slice(prefill) };
  });
}

/** The answer a GSM8K rationale ends with, `#### 1,234` → `1234`; null without one. */
export function goldAnswer(answer: string): string | null {
  const match = /####([^\n]*)$/.exec(answer.trimEnd());
  const gold = match?.[1].trim().replaceAll(',', '') ?? '';
  return gold === '' ? null : gold;
}

/** @throws UsageError for a template that would drop the question. */
export function checkTemplate(template: string): void {
  if (!template.includes('{question}')) {
    throw new UsageError(`--template: found ${JSON.stringify(template)}, expected a text that contains {question}`);
  }
}

/** The worked examples, each followed by an empty line. */
function fewShotPrefix(file: string, template: string): string {
  let prefix = '';
  for (const { number, text } of readLines(file)) {
    const where = `${file}:${number}`;
    const { question, answer } = parseRecord(text, where);
    if (question === null || answer === null) {
      throw new InputError(`${where}: a worked example needs "question" and "answer"`);
    }
    prefix += `${fillTemplate(template, question)}${answer}\n\n`;
  }
  if (prefix === '') throw new InputError(`${file}: found no worked example, expected at least one line of JSON`);
  return prefix;
}

interface PromptRecord {
  id: string | null;
  question: string | null;
  prompt: string | null;
  tokens: number[] | null;
  answer: string | null;
  gold: string | null;
  continuation: number[] | null;
}

function parseRecord(text: string, where: string): PromptRecord {
  const record = parseObject(text, where);
  const sources = ['question', 'prompt', 'tokens'].filter((key) => Object.hasOwn(record, key));
  if (sources.length !== 1) {
    const found = sources.length === 0 ? 'none of them' : sources.map((key) => `"${key}"`).join(' and ');
    throw new InputError(`${where}: found ${found}, expected exactly one of "question", "prompt" and "tokens"`);
  }
  const answer = optional(record, 'answer', where, asText);
  return {
    id: optional(record, 'id', where, asId),
    question: optional(record, 'question', where, asText),
    prompt: optional(record, 'prompt', where, asText),
    tokens: optional(record, 'tokens', where, asIds),
    answer,
    gold: answer === null ? null : goldAnswer(answer),
    continuation: optional(record, 'continuation', where, asIds),
  };
}

function parseObject(text: string, where: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(`${where}: not valid JSON, expected one JSON object per line`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InputError(`${where}: found ${excerpt(value)}, expected a JSON object`);
  }
  return value;
}

type Reader<T> = (value: unknown) => { value: T } | { expected: string };

function optional<T>(record: object, key: string, where: string, read: Reader<T>): T | null {
  if (!Object.hasOwn(record, key)) return null;
  const found: unknown = Object.getOwnPropertyDescriptor(record, key)?.value;
  const result = read(found);
  if ('value' in result) return result.value;
  throw new InputError(`${where}: "${key}": found ${excerpt(found)}, expected ${result.expected}`);
}

const asText: Reader<string> = (value) =>
  typeof value === 'string' && value !== '' ? { value } : { expected: 'a text that is not empty' };

/** Short and printable, since ids are written to logs and tables; a whole number is accepted as its digits. */
const asId: Reader<string> = (value) => {
  if (Number.isSafeInteger(value)) return { value: String(value) };
  if (typeof value === 'string' && /^[^\p{Control}]{1,200}$/u.test(value)) return { value };
  return { expected: 'a text of 1 to 200 printable characters' };
};

const asIds: Reader<number[]> = (value) => {
  const expected = 'a list of token ids with at least one entry';
  if (!Array.isArray(value) || value.length === 0) return { expected };
  const ids: number[] = [];
  for (const id of value) {
    if (typeof id !== 'number' || !Number.isSafeInteger(id)) return { expected: `${expected}, all whole numbers` };
    ids.push(id);
  }
  return { value: ids };
};

function checkPrompt(prompt: Prompt, target: PromptTarget, where: string): Prompt {
  const { tokens, continuation } = prompt;
  if (tokens.length === 0) throw new InputError(`${where}: the prompt has no token, expected at least one`);
  checkIds(tokens, target, where);
  checkIds(continuation ?? [], target, where);
  const length = tokens.length + (continuation?.length ?? 0);
  if (length > target.maxPositions) {
    const parts = continuation === null ? '' : ` (${tokens.length} of the prompt, ${continuation.length} forced)`;
    throw new InputError(
      `${where}: found ${length} tokens${parts}, expected at most ${target.maxPositions}, the model's context`,
    );
  }
  return prompt;
}

function checkIds(ids: readonly number[], { vocabSize }: PromptTarget, where: string): void {
  for (const id of ids) {
    if (id < 0 || id >= vocabSize) {
      throw new InputError(`${where}: found token id ${id}, expected 0 … ${vocabSize - 1}`);
    }
  }
}

function tokenize(text: string, { tokenizer }: PromptTarget, where: string): number[] {
  if (!tokenizer) {
    throw new InputError(`${where}: the model has no tokenizer.json, so a text cannot be tokenised`, 'give token ids');
  }
  return tokenizer.encode(text);
}

/** The question may contain anything, `$&` and `{question}` included. */
function fillTemplate(template: string, question: string): string {
  return template.split('{question}').join(question);
}

function sha256Prefix(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 12);
}

function excerpt(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}
