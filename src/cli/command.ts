/** What a command is: how it is configured, and a function from a parsed command line to a result. */
import type { Command } from 'commander';
import type { ExitCode } from '../errors.ts';
import type { Result, ResultCommand } from './contract.ts';
import type { Io } from './io.ts';

/** What a command runs in. */
export interface Context {
  io: Io;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
}

/** What a command found: for programs, for people, and for the shell. */
export interface Outcome<C extends ResultCommand = ResultCommand> {
  result: Result<C>;
  text: string;
  exitCode: ExitCode;
}

export interface CommandDefinition<C extends ResultCommand = ResultCommand> {
  name: C;
  description: string;
  /** Takes a MODEL argument. */
  takesModel: boolean;
  /** True: watches `signal` itself and keeps what is finished. False: is left at once. */
  keepsWork: boolean;
  /** Add its options. */
  configure(command: Command): void;
  /** Run it. `model` is empty for a command that takes none. */
  run(command: Command, model: string, context: Context): Promise<Outcome<C>>;
}
