/** Documents that are made from code say what the code says. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { apiEntries, apiMarkdown } from '../scripts/api-document.ts';
import { packageRoot } from '../src/checkpoint/embedded.ts';
import { documents } from '../src/documents.ts';
import { temporaryFolder } from './store/folder.ts';

const read = (path: string) => readFileSync(join(packageRoot(), path), 'utf8');

test.each(Object.entries(documents()))('%s is up to date (npm run docs writes it)', (path, content) => {
  expect(read(path)).toBe(content);
});

test('the README has the commands that install, run and test', () => {
  for (const command of ['npm ci && npm start', 'npm ci && npm test']) expect(read('README.md')).toContain(command);
});

test('docs/api.md is up to date (npm run docs writes it), and every export has a doc comment', () => {
  const folder = temporaryFolder();
  const compiler = join(packageRoot(), 'node_modules/typescript/bin/tsc');
  const options = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', folder];
  execFileSync(process.execPath, [compiler, ...options], { cwd: packageRoot() });
  expect(read('docs/api.md')).toBe(apiMarkdown(folder));
  const bare = apiEntries(folder).filter(({ comment }) => !/^\w|^[`(‖]/.test(comment));
  expect(bare.map(({ name }) => name)).toEqual([]);
}, 120_000);
