/**
 * The errors a user can cause, and the exit code each one ends the command with.
 *
 * A bug throws a plain `Error`; everything a user can cause throws one of these, whose message is one line that
 * names the file, the value found and what was expected. `hint` says what to do about it.
 */

/** Exit codes of the command line; fixed by contract. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, input: 3, interrupted: 130 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Base of every error whose message is meant for the user. */
export class KvlensError extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;

  constructor(message: string, exitCode: ExitCode, hint?: string) {
    super(message);
    this.name = new.target.name;
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** A file, folder or value handed in is not what it must be (exit code 3). */
export class InputError extends KvlensError {
  constructor(message: string, hint?: string) {
    super(message, exitCodes.input, hint);
  }
}

/** The command line itself is wrong (exit code 2). */
export class UsageError extends KvlensError {
  constructor(message: string, hint?: string) {
    super(message, exitCodes.usage, hint);
  }
}

/** A run could not be finished although its input was good (exit code 1). */
export class RunError extends KvlensError {
  constructor(message: string, hint?: string) {
    super(message, exitCodes.failed, hint);
  }
}

/** The user stopped the run; what was finished has been kept (exit code 130). */
export class InterruptedError extends KvlensError {
  constructor(message = 'interrupted; finished work was kept') {
    super(message, exitCodes.interrupted);
  }
}
