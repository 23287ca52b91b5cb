/** `kvlens report RUN`: the page of a run, its figures as files, or a server for the whole of it. */
import { join } from 'node:path';
import { type ExitCode, exitCodes, UsageError } from '../../errors.ts';
import { openRunFolder } from '../../report/data/run-folder.ts';
import { documentHtml } from '../../report/page/document.ts';
import { type Report, reportOf } from '../../report/page/report.ts';
import { renderReport } from '../../report/terminal/index.ts';
import { writeFigures } from '../../report/write/figure-files.ts';
import { clientScript, writeReport } from '../../report/write/report-file.ts';
import { serveRun } from '../../report/write/server.ts';
import type { CommandDefinition, Context } from '../command.ts';
import { addOption, addSomeOptions, OptionValues } from '../options.ts';
import { Progress } from '../progress.ts';
import { integer, nonEmpty } from '../values.ts';

export const reportCommand: CommandDefinition<'report'> = {
  name: 'report',
  description: 'a run as one page that opens without a network: RUN/report.html',
  takesModel: false,
  keepsWork: true,
  configure: (command) => {
    command.argument('<RUN>', 'folder of a run');
    addOption(command, {
      flags: '--figures <DIR>',
      description: 'write every figure as SVG and PNG into this folder, instead of the page',
      read: nonEmpty('figures', 'a folder'),
    });
    addOption(command, {
      flags: '--serve',
      description: 'serve the page with all rows of the run, on this machine alone, until Ctrl-C',
    });
    addOption(command, {
      flags: '--port <N>',
      description: 'of --serve; 0: any that is free',
      read: integer('port', 0, 65_535),
    });
    addSomeOptions(command, ['json', 'quiet']);
  },
  run: async (command, _model, context) => {
    const values = new OptionValues(command);
    const [folder, figures, serve, port] = [
      command.args[0],
      values.text('figures') ?? null,
      values.flag('serve'),
      values.number('port'),
    ];
    if (serve && figures !== null) throw new UsageError('found --serve and --figures, expected one of them');
    if (port !== undefined && !serve) throw new UsageError('--port: found without --serve');
    const run = openRunFolder(folder);
    const progress = new Progress(context.io, values.flag('quiet'));
    const show = (done: number, total: number) =>
      progress.update({ label: `drawing ${run.name}`, done, total, unit: 'figures' });
    const none = { report: null, bytes: null, figures: null, url: null };
    try {
      if (figures !== null) {
        const written = await writeFigures(run, figures, { progress: show });
        progress.end();
        const result = { run: folder, verdict: null, answer: null, ...none, figures: { folder: figures, ...written } };
        return { result, text: renderReport(result, context.io), exitCode: exitCodes.ok };
      }
      if (serve) {
        const report = await reportOf(run, {}, show);
        progress.end();
        const page = documentHtml(report, { script: clientScript(), excerpt: null });
        const url = await served(run, folder, page, port ?? 0, context);
        const result = { run: folder, ...answered(report), ...none, url };
        return { result, text: renderReport(result, context.io), exitCode: exitCodeOf(report) };
      }
      const path = join(folder, 'report.html');
      const { report, bytes } = await writeReport(run, path, { progress: show });
      progress.end();
      const result = { run: folder, ...answered(report), ...none, report: path, bytes };
      return { result, text: renderReport(result, context.io), exitCode: exitCodeOf(report) };
    } finally {
      progress.end();
    }
  },
};

/** What a failed gate voids fails here too, although the page is there. */
function exitCodeOf({ answer }: Report): ExitCode {
  return answer.verdict === 'not-valid' ? exitCodes.failed : exitCodes.ok;
}

function answered({ answer }: Report): { verdict: Report['answer']['verdict']; answer: string } {
  return { verdict: answer.verdict, answer: answer.head };
}

/** Serve until the user stops it, which is how serving ends. */
async function served(
  run: ReturnType<typeof openRunFolder>,
  folder: string,
  page: string,
  port: number,
  { io, signal }: Context,
): Promise<string> {
  const server = await serveRun(run, folder, page, port);
  io.err(`${server.url}  (Ctrl-C ends it)\n`);
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  await server.close();
  return server.url;
}
