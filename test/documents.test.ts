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

test('the page on 100 % says first whether anything on it gives exactly 100 %, and what comes nearest', () => {
  const page = read('docs/what-produces-100-percent.md');
  const rows = [...page.matchAll(/^\| (.+?) \| (\d+)\/(\d+) \[/gm)].map(([, label, diverged, prompts]) => ({
    ...{ label, diverged: Number(diverged), prompts: Number(prompts) },
  }));
  expect(rows.length).toBeGreaterThan(20);
  const most = rows.reduce((a, b) => (b.diverged / b.prompts > a.diverged / a.prompts ? b : a));
  const opening = page
    .split('\n')
    .slice(1)
    .find((line) => line !== '');
  const whole = most.diverged === most.prompts;
  expect(opening).toMatch(
    whole ? /^Exactly 100 % is what these give: / : /^Nothing on this page gives exactly 100 %\. /,
  );
  expect(opening).toContain(`${most.diverged} of ${most.prompts} texts (`);
  expect(opening).toContain(most.label);
});
