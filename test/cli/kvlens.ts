/** Run the built command as a user does: as a process of its own, with nothing of the test's environment that colours it. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const commandPath = join(root, 'dist', 'cli', 'main.js');

/** Build if `npm test` has not done so already. */
export function ensureBuilt(): void {
  execFileSync(process.execPath, [join(root, 'scripts', 'build-if-stale.mjs')]);
}

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string | undefined>;
  /** Called with the running process, for tests that interrupt it. */
  started?: (child: { kill(signal: NodeJS.Signals): boolean; stderr: NodeJS.ReadableStream }) => void;
}

/** Run `kvlens` with these arguments. */
export function kvlens(
  arguments_: readonly string[],
  { cwd = root, env = {}, started }: RunOptions = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [commandPath, ...arguments_], {
      cwd,
      env: { ...process.env, NO_COLOR: '1', KVLENS_DEBUG: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    started?.(child);
  });
}

/** A folder that is gone after the tests of a file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kvlens-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
