/** From whatever was thrown to one line for the user and an exit code. */
import { CommanderError } from 'commander';
import { type ExitCode, exitCodes, InputError, KvlensError, UsageError } from '../errors.ts';
import { visible } from '../report/terminal/layout.ts';
import type { ErrorResult } from './contract.ts';

/** How a command failed, in words. */
export interface Failure {
  exitCode: ExitCode;
  code: ErrorResult['error']['code'];
  message: string;
  hint: string | null;
  /** Only of bugs, and only shown on request. */
  stack: string | null;
}

const codes: Record<ExitCode, Failure['code']> = {
  0: 'internal',
  1: 'failed',
  2: 'usage',
  3: 'input',
  130: 'interrupted',
};

/** What to say about an error, and what to exit with. */
export function toFailure(error: unknown): Failure {
  const known = asKnown(error);
  if (known) {
    const { exitCode, message, hint } = known;
    return {
      exitCode,
      code: codes[exitCode],
      message: oneLine(message),
      hint: hint ? oneLine(hint) : null,
      stack: null,
    };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    exitCode: exitCodes.failed,
    code: 'internal',
    message: oneLine(`internal error: ${message}`),
    hint: 'this is a bug in kvlens, please report it; KVLENS_DEBUG=1 shows the stack',
    stack: (error instanceof Error ? error.stack : undefined) ?? null,
  };
}

/** The two lines on stderr. */
export function failureText({ message, hint, stack }: Failure, debug: boolean): string {
  const lines = [`kvlens: ${message}`];
  if (hint !== null) lines.push(`  hint: ${hint}`);
  if (debug && stack !== null) lines.push(stack);
  return `${lines.join('\n')}\n`;
}

/** The object `--json` prints. */
export function failureResult({ code, message, hint }: Failure): ErrorResult {
  return { error: { code, message, hint } };
}

function asKnown(error: unknown): KvlensError | null {
  if (error instanceof KvlensError) return error;
  if (error instanceof CommanderError) return usage(error);
  return systemError(error);
}

/** commander's "error: unknown option '--x'\n(Did you mean --y?)" in this project's form. */
function usage({ code, message }: CommanderError): UsageError {
  if (code === 'commander.help') return new UsageError('expected a command', 'kvlens --help lists the commands');
  const [first, ...rest] = message.replace(/^error: /, '').split('\n');
  const suggestion = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  return new UsageError(first, suggestion === '' ? 'kvlens --help, kvlens COMMAND --help' : suggestion);
}

const reasons: Record<string, string> = {
  EACCES: 'permission denied',
  EDQUOT: 'disk quota exceeded',
  EEXIST: 'it exists already',
  EFBIG: 'file too large',
  EISDIR: 'it is a folder',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'name too long',
  ENOENT: 'no such file or folder',
  ENOSPC: 'no space left',
  ENOTDIR: 'not a folder',
  ENOTEMPTY: 'folder not empty',
  EPERM: 'not permitted',
  EROFS: 'read-only file system',
};

/** A file that cannot be read or written, wherever it was met, is an input that is not what it must be. */
function systemError(error: unknown): InputError | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  const reason = reasons[error.code];
  if (reason === undefined) return null;
  const path = 'path' in error && typeof error.path === 'string' ? error.path : null;
  return new InputError(path === null ? `a file could not be read or written: ${reason}` : `${path}: ${reason}`);
}

function oneLine(text: string): string {
  return text
    .replaceAll(/\s*\n\s*/g, ' ')
    .trim()
    .replaceAll(/\p{Control}/gu, (character) => visible(character));
}
