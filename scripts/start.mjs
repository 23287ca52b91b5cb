/**
 * `npm start`: the main job on the embedded model, written to the next free folder under data/runs/, and its report. Arguments
 * after `npm start --` are passed on.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const main = join(root, 'dist', 'cli', 'main.js');
const given = process.argv.slice(2);

/** The first data/runs/diverge-mini-llama-<n> that is not there yet. */
function nextRun() {
  for (let n = 1; ; n++) {
    const run = join(root, 'data', 'runs', `diverge-mini-llama-${n}`);
    if (!existsSync(run)) return relative(process.cwd(), run) || run;
  }
}

/** Run kvlens; resolves with its exit code. */
function kvlens(words, stdout) {
  const child = spawn(process.execPath, [main, ...words], { stdio: ['inherit', stdout, 'inherit'] });
  return new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)));
}

// Ctrl-C reaches the child by itself; stay until it has kept its work.
process.on('SIGINT', () => {});
const at = given.findIndex((argument) => argument === '--out' || argument.startsWith('--out='));
const out = at < 0 ? nextRun() : given[at].startsWith('--out=') ? given[at].slice('--out='.length) : given[at + 1];
process.exitCode = await kvlens(['diverge', 'mini-llama', ...(at < 0 ? ['--out', out] : []), ...given], 'inherit');
// A run whose gates failed has a page too, which says so.
if ((process.exitCode === 0 || process.exitCode === 1) && out && existsSync(join(out, 'manifest.json'))) {
  // The answer has been printed; the page's place has not.
  const quiet = given.includes('--json') || given.includes('--quiet');
  const code = await kvlens(['report', out, '--quiet'], quiet ? 'ignore' : 'inherit');
  if (process.exitCode === 0) process.exitCode = code;
}
