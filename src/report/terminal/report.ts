/** What `kvlens report` wrote, in a few lines: the answer first, where to look last. */
import type { FigureFiles } from '../write/figure-files.ts';
import { finish } from './gates.ts';
import { type TerminalOptions, visibleWords, wrap } from './layout.ts';
import { formatBytes, formatCounted } from './numbers.ts';

export interface ReportSummary {
  run: string;
  answer: string | null;
  report: string | null;
  bytes: number | null;
  figures: ({ folder: string } & FigureFiles) | null;
  url: string | null;
}

export function renderReport({ answer, report, bytes, figures, url }: ReportSummary, options: TerminalOptions): string {
  const { columns } = options;
  const lines = answer === null ? [] : wrap(visibleWords(answer), columns, {});
  if (report !== null)
    lines.push(`  look           ${report} (${formatBytes(bytes ?? 0)}, opens in a browser, needs no network)`);
  if (url !== null) lines.push(`  served         ${url}`);
  if (figures !== null) {
    const { files, missing, png, folder } = figures;
    lines.push(`${formatCounted(files.length, 'file')} in ${folder}: ${files.join(', ')}`);
    if (!png) lines.push('  no PNG files: no font was found (Debian: apt install fonts-dejavu-core)');
    for (const each of missing)
      lines.push(
        ...wrap(`${each.figure}: ${each.missing} ${each.command}`, columns, {
          first: '  not drawn      ',
          indent: ' '.repeat(17),
        }),
      );
  }
  return finish(lines, options);
}
