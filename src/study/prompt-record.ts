/** One line of a prompt file: a question with its worked answer, a text, or token ids. */
import { InputError } from '../errors.ts';
import { excerpt } from '../store/parse-json.ts';

export interface PromptRecord {
  id: string | null;
  question: string | null;
  prompt: string | null;
  tokens: number[] | null;
  answer: string | null;
  gold: string | null;
  continuation: number[] | null;
}

/** @param where names the line in errors @throws InputError */
export function parseRecord(text: string, where: string): PromptRecord {
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

/** Half of a surrogate pair. Written as UTF-8 all of them are the same character, so that two ids would be one. */
const halfCharacter = /\p{Surrogate}/u;

const asText: Reader<string> = (value) => {
  if (typeof value !== 'string' || value === '') return { expected: 'a text that is not empty' };
  return halfCharacter.test(value) ? { expected: 'a text without halves of surrogate pairs' } : { value };
};

/** Short and printable, since ids are written to logs and tables; a whole number is accepted as its digits. */
const asId: Reader<string> = (value) => {
  if (Number.isSafeInteger(value)) return { value: String(value) };
  if (typeof value === 'string' && /^[^\p{Control}\p{Surrogate}]{1,200}$/u.test(value)) return { value };
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

/** The answer a GSM8K rationale ends with, `#### 1,234` → `1234`; null without one. */
export function goldAnswer(answer: string): string | null {
  const match = /####([^\n]*)$/.exec(answer.trimEnd());
  const gold = match?.[1].trim().replaceAll(',', '') ?? '';
  return gold === '' ? null : gold;
}
