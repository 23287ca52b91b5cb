/** Run both arms in a process of its own and get their digests back: nothing is shared but the files on disk. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../checkpoint/embedded.ts';
import { RunError } from '../../errors.ts';
import type { ArmDigests, ArmsRequest } from './arm-digests.ts';

/** The built worker: `npm test` builds it first, so that the child needs no loader for the sources. */
function workerFile(): string {
  return join(packageRoot(), 'dist', 'divergence', 'gates', 'arms-worker.js');
}

/** @throws RunError if the process fails. */
export function runInFreshProcess(request: ArmsRequest): Promise<ArmDigests> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [workerFile()], { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(parseDigests(output));
      else reject(new RunError(`the fresh process of gate repeat ended with code ${code}: ${firstError(errors)}`));
    });
    child.stdin.end(JSON.stringify(request));
  });
}

function parseDigests(text: string): ArmDigests {
  const value: unknown = JSON.parse(text);
  const digests: ArmDigests = {};
  if (typeof value !== 'object' || value === null) throw new Error('the fresh process wrote no digests');
  for (const [key, digest] of Object.entries(value)) digests[key] = String(digest);
  return digests;
}

/** The line that names the error: Node prints the source line before it. */
function firstError(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.find((line) => line !== '') ?? 'no message';
}
