/** Write graphs/MODEL/fp16-ort anew for every embedded model: `npm run graphs`. */
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
for (const model of readdirSync(join(root, 'data', 'checkpoints'))) {
  const out = join(root, 'graphs', model, 'fp16-ort');
  rmSync(out, { recursive: true, force: true });
  execFileSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), 'export', model, '--out', out], {
    stdio: 'inherit',
  });
}
