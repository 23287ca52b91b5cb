/** Bundles the script of the report's page: `node scripts/build-client.mjs`. One file, without a name of any path in it. */
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export function buildClient() {
  return build({
    absWorkingDir: root,
    entryPoints: ['src/report/client/main.ts'],
    outfile: join(root, 'dist', 'report', 'client.js'),
    ...{ bundle: true, minify: true, platform: 'browser', format: 'iife', target: 'es2022', charset: 'utf8' },
    legalComments: 'none',
    logLevel: 'warning',
    tsconfigRaw: { compilerOptions: { target: 'es2022' } },
  });
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await buildClient();
