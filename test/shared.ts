/** Data beside the checkout that tests use where it is present: `KVLENS_SHARED`, else `../shared`. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.env.KVLENS_SHARED ?? join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared');

/** Path of a shared file or folder, or null (with one printed line) where it is missing. */
export function sharedPath(...parts: string[]): string | null {
  const path = join(root, ...parts);
  if (existsSync(path)) return path;
  console.log(`skipped: shared data ${parts.join('/')} not found (set KVLENS_SHARED)`);
  return null;
}
