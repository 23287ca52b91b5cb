/**
 * `npm start`: the main job on the embedded model, written to the next free folder under data/runs/. Arguments after
 * `npm start --` are passed on.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const given = process.argv.slice(2);

/** The first data/runs/diverge-mini-llama-<n> that is not there yet. */
function nextRun() {
  for (let n = 1; ; n++) {
    const run = join(root, 'data', 'runs', `diverge-mini-llama-${n}`);
    if (!existsSync(run)) return relative(process.cwd(), run) || run;
  }
}

const out = given.some((argument) => argument === '--out' || argument.startsWith('--out=')) ? [] : ['--out', nextRun()];
const command = [join(root, 'dist', 'cli', 'main.js'), 'diverge', 'mini-llama', ...out, ...given];
const child = spawn(process.execPath, command, { stdio: 'inherit' });
// Ctrl-C reaches the child by itself; stay until it has kept its work.
process.on('SIGINT', () => {});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
