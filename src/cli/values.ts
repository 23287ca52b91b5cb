/** Option values: text to a checked value, or a usage error that names the option, what was found and what was expected. */
import { UsageError } from '../errors.ts';

/** Reads one option's text. */
export type ValueReader<T> = (text: string) => T;

/** A whole number in a range, in plain decimal digits. */
export function integer(option: string, least: number, most = Number.MAX_SAFE_INTEGER): ValueReader<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `≥ ${least}` : `from ${least} to ${most}`;
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw unexpected(option, text, `a whole number ${range}`);
  };
}

/** A finite number, in decimal or exponent form; its range is checked where it is used. */
export function finiteNumber(option: string, expected: string, valid: (value: number) => boolean): ValueReader<number> {
  return (text) => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (Number.isFinite(value) && valid(value)) return value;
    throw unexpected(option, text, expected);
  };
}

/** One of a few words. */
export function choice<T extends string>(option: string, words: readonly T[]): ValueReader<T> {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    throw unexpected(option, text, words.join(', '));
  };
}

/** A text that is not empty and not the next option. */
export function nonEmpty(option: string, what: string): ValueReader<string> {
  return (text) => {
    if (text !== '' && !text.startsWith('--')) return text;
    throw unexpected(option, text, what);
  };
}

/** Token ids separated by commas; whether the model has them is checked later. */
export function tokenList(option: string): ValueReader<number[]> {
  return (text) => {
    const parts = text.split(',').map((part) => part.trim());
    const bad = parts.find((part) => !/^-?\d{1,15}$/.test(part));
    if (bad === undefined) return parts.map(Number);
    throw unexpected(option, bad, 'token ids separated by commas, such as 1,403,407');
  };
}

const units: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes: `800M`, `2G`, `1.5GiB`, or a plain number. */
export function byteSize(option: string): ValueReader<number> {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text);
    const bytes = match ? Math.floor(Number(match[1]) * units[match[2].toLowerCase()]) : Number.NaN;
    if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
    throw unexpected(option, text, 'a size such as 800M or 2G');
  };
}

/** `\n`, `\t` and `\\` as a shell leaves them, turned into what they stand for. */
export function readEscapes(text: string): string {
  return text.replaceAll(/\\([nt\\])/g, (_, letter: string) => ({ n: '\n', t: '\t' })[letter] ?? '\\');
}

function unexpected(option: string, found: string, expected: string): UsageError {
  const shown = found.length <= 80 ? found : `${found.slice(0, 77)}…`;
  return new UsageError(`--${option}: found ${JSON.stringify(shown)}, expected ${expected}`);
}
