/** Write a run's report: one HTML file that needs no network, and the script that it carries. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../checkpoint/embedded.ts';
import { RunError } from '../../errors.ts';
import { PartialFile } from '../../store/files.ts';
import type { RunTables } from '../data/run-tables.ts';
import { documentHtml } from '../page/document.ts';
import { type Focus, type Report, reportOf } from '../page/report.ts';
import { excerptOf } from './excerpt.ts';

/** The page's script, as the build bundles it. @throws RunError if the package was not built */
export function clientScript(): string {
  const path = join(packageRoot(), 'dist', 'report', 'client.js');
  if (!existsSync(path)) throw new RunError(`${path}: not found`, 'npm run build makes it');
  return readFileSync(path, 'utf8');
}

export interface WrittenReport {
  report: Report;
  bytes: number;
}

/**
 * Write the report of a run; the file appears when it is complete.
 * @throws InputError if a file of the run is not one of this version's, or the folder cannot be written
 */
export async function writeReport(
  run: RunTables,
  path: string,
  { focus = {}, progress = () => {} }: { focus?: Focus; progress?: (done: number, of: number) => void } = {},
): Promise<WrittenReport> {
  const script = clientScript();
  const report = await reportOf(run, focus, progress);
  const page = new TextEncoder().encode(documentHtml(report, { script, excerpt: await excerptOf(run) }));
  const file = new PartialFile(path);
  file.write(page);
  file.publish();
  return { report, bytes: page.length };
}
