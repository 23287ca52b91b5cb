/** A temporary folder that goes away with the test file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'kvlens-store-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
