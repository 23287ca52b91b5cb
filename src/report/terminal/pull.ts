/** What a pull brought, and how to go on. */
import type { Pulled } from '../../hub/pull.ts';
import { finish } from './gates.ts';
import { padLeft, padRight, type TerminalOptions, wrap } from './layout.ts';
import { marks } from './marks.ts';
import { formatBytes, formatCounted } from './numbers.ts';

/** One line per file; the folder; the next command, or why there is none. */
export function renderPull(pulled: Pulled, options: TerminalOptions): string {
  const { folder, repository, revision, commit, files, unsupported } = pulled;
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const at = revision === commit ? commit.slice(0, 12) : `${revision} ${commit.slice(0, 12)}`;
  const names = Math.max(...files.map(({ name }) => name.length));
  const lines = [
    `${repository}  ${at}  ${formatCounted(files.length, 'file')}, ${formatBytes(total)}`,
    ...files.map(
      ({ name, bytes, downloaded }) =>
        `  ${padRight(name, names)}  ${padLeft(formatBytes(bytes), 7)}  ${downloaded > 0 ? 'downloaded' : 'was there'}`,
    ),
    '',
    `  model          ${folder}`,
  ];
  const prompt = files.some(({ name }) => name === 'tokenizer.json') ? '--prompt "Once upon a time"' : '--tokens 1,2,3';
  if (unsupported === null) lines.push(`  try            kvlens diverge ${quoted(folder)} ${prompt}`);
  else lines.push('', ...wrap(`${marks(options.color).bad('!')} NOT SUPPORTED  ${unsupported}`, options.columns));
  return finish(lines, options);
}

/** As a shell takes it. */
function quoted(path: string): string {
  return /^[\w./~@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
