#!/usr/bin/env node
/** The `kvlens` command: streams, signals and the exit code around `runProgram`. */
import { exitCodes } from '../errors.ts';
import { processIo } from './io.ts';
import { runProgram } from './program.ts';

const interruption = new AbortController();
// SIGTERM is how a batch system says that time is up.
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interruption.signal.aborted) process.exit(exitCodes.interrupted);
    interruption.abort();
  });
}

// A reader that has seen enough (`kvlens … | head`) closes the pipe; that is no error of the run.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.exitCode = exitCodes.failed;
    if (stream === process.stdout) process.stderr.write(`kvlens: stdout: ${error.message}\n`);
  });
}

const exitCode = await runProgram(process.argv.slice(2), { io: processIo(), signal: interruption.signal });
process.exitCode ??= exitCode;
// What was interrupted may still be computing.
if (exitCode === exitCodes.interrupted) process.exit();
