/** What a run leaves behind: its own files, and nothing of anybody else's. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, kvlens } from './kvlens.ts';

const root = mkdtempSync(join(tmpdir(), 'kvlens-silence-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeAll(ensureBuilt);

test('the runtime below reports no use: no log, identifier or queue in the temporary, home and cache folders', async () => {
  const folders = ['tmp', 'home', 'cache'].map((name) => join(root, name));
  for (const folder of folders) mkdirSync(folder);
  const [TMPDIR = '', HOME = '', XDG_CACHE_HOME = ''] = folders;
  const words = ['diverge', 'mini-llama', '--limit', '1', '--max-new-tokens', '2', '--out', join(root, 'run')];
  const env = {
    TMPDIR,
    HOME,
    XDG_CACHE_HOME,
    KVLENS_CACHE: join(root, 'audits'),
    CI: '',
    ORT_DISABLE_TELEMETRY: undefined,
  };
  expect(await kvlens(words, { env })).toMatchObject({ code: 0 });
  for (const folder of folders) expect(readdirSync(folder, { recursive: true })).toEqual([]);
});
