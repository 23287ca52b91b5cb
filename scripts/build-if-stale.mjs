/** Build dist/ if it is missing or older than what it is made from. Runs before `npm start` and `npm test`. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildClient } from './build-client.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, 'dist');
const command = join(output, 'cli', 'main.js');
const sources = ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/build-client.mjs'];

/** Latest change below a path, folders included, so that a deleted file counts. */
function newest(path) {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(status.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

/** Remove what an earlier build wrote and this one did not: its source is gone. */
function removeOlder(path, time) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) removeOlder(child, time);
    else if (statSync(child).mtimeMs < time) rmSync(child);
  }
}

const changed = Math.max(...sources.map((name) => newest(join(root, name))));
if (!existsSync(command) || statSync(command).mtimeMs < changed) {
  // File systems may keep coarser times than the clock.
  const started = Date.now() - 2000;
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
  // A build with errors must not look like a fresh one.
  const options = ['-p', join(root, 'tsconfig.build.json'), '--noEmitOnError'];
  const { status, error } = spawnSync(process.execPath, [compiler, ...options], { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  await buildClient();
  removeOlder(output, started);
}
chmodSync(command, 0o755);
