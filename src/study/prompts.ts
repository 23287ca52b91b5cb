/**
 * Prompts of a run: from a JSON Lines file in GSM8K's form, or from the command line, to token ids that fit the model.
 *
 * An id, never an index, names a prompt: random draws are keyed by it, so that shards, `--limit` and merges agree.
 */
import { createHash } from 'node:crypto';
import type { Tokenizer } from '../checkpoint/types.ts';
import { InputError, UsageError } from '../errors.ts';
import { FewShot, type FewShotOptions } from './few-shot.ts';
import { readLines } from './prompt-lines.ts';
import { parseRecord } from './prompt-record.ts';

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

export interface PromptFileOptions extends FewShotOptions {
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
  const fewShot = new FewShot(options);
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
    const text = record.question === null ? record.prompt : fewShot.prompt(record.question, id);
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

/** @throws UsageError for a template that would drop the question. */
export function checkTemplate(template: string): void {
  if (!template.includes('{question}')) {
    throw new UsageError(`--template: found ${JSON.stringify(template)}, expected a text that contains {question}`);
  }
}

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

function sha256Prefix(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 12);
}
