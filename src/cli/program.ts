/** The program: commands, options, and one place where a result or an error becomes output and an exit code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { packageRoot } from '../checkpoint/embedded.ts';
import { type ExitCode, exitCodes, InterruptedError, UsageError } from '../errors.ts';
import type { CommandDefinition, Context, Outcome } from './command.ts';
import { commands } from './commands/index.ts';
import { failureResult, failureText, toFailure } from './failure.ts';

/** Run a command line (without node and script) and return its exit code. Never throws, never exits. */
export async function runProgram(argv: readonly string[], context: Context): Promise<ExitCode> {
  const { io } = context;
  const json = wantsJson(argv);
  try {
    const { result, text, exitCode } = await execute(argv, context);
    io.out(json ? `${JSON.stringify(result)}\n` : `${text}\n`);
    return exitCode;
  } catch (error) {
    if (error instanceof HelpShown) return exitCodes.ok;
    const failure = toFailure(error);
    io.err(failureText(failure, io.debug));
    if (json) io.out(`${JSON.stringify(failureResult(failure))}\n`);
    return failure.exitCode;
  }
}

/** Help or the version was asked for and has been printed. */
class HelpShown extends Error {}

async function execute(argv: readonly string[], context: Context): Promise<Outcome> {
  let started: Promise<Outcome> | undefined;
  const program = newCommand('kvlens', context)
    .description('Does decoding with a KV cache compute the same thing as decoding without it?')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help');
  for (const definition of commands) {
    program.addCommand(
      toCommand(definition, context, (outcome) => {
        started = outcome;
      }),
    );
  }
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) throw new HelpShown();
    throw error;
  }
  if (!started) throw new UsageError('expected a command', 'kvlens --help lists the commands');
  return started;
}

function toCommand(
  definition: CommandDefinition,
  context: Context,
  start: (outcome: Promise<Outcome>) => void,
): Command {
  const command = newCommand(definition.name, context).description(definition.description);
  if (definition.takesModel) {
    command.argument('<MODEL>', 'an embedded model, a checkpoint folder or an exported graph folder');
  }
  definition.configure(command);
  command.action((...given: unknown[]) => {
    const model = definition.takesModel ? String(given[0]) : '';
    if (definition.takesModel && model === '') throw new UsageError('MODEL: found an empty text, expected a model');
    start(runInterruptibly(definition, command, model, context));
  });
  return command;
}

/** A command that keeps its work ends itself; any other is left where it is. */
async function runInterruptibly(
  definition: CommandDefinition,
  command: Command,
  model: string,
  context: Context,
): Promise<Outcome> {
  const running = definition.run(command, model, context);
  if (definition.keepsWork) return running;
  const { signal } = context;
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new InterruptedError('interrupted')), { once: true });
  });
  return Promise.race([running, aborted]);
}

/** commander exits with 1 and prints by itself unless told otherwise on the program and on each command. */
function newCommand(name: string, { io }: Context): Command {
  return new Command(name)
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: () => {}, outputError: () => {} })
    .configureHelp({ helpWidth: io.columns });
}

/** Known before parsing, so that errors of parsing are told as JSON too. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json');
}

function version(): string {
  const text: unknown = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
  const found = typeof text === 'object' && text !== null && 'version' in text ? text.version : undefined;
  return typeof found === 'string' ? found : 'unknown';
}
