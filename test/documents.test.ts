/** Documents that are made from code say what the code says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../src/checkpoint/embedded.ts';
import { documents } from '../src/documents.ts';

const read = (path: string) => readFileSync(join(packageRoot(), path), 'utf8');

test.each(Object.entries(documents()))('%s is up to date (npm run docs writes it)', (path, content) => {
  expect(read(path)).toBe(content);
});

test('the README has the commands that install, run and test', () => {
  for (const command of ['npm ci && npm start', 'npm ci && npm test']) expect(read('README.md')).toContain(command);
});

test('every link of the README leads somewhere', () => {
  const links = [...read('README.md').matchAll(/\]\(([^)#:]+)\)|src(?:set)?="([^":]+)"/g)].map(
    (match) => match[1] ?? match[2],
  );
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) expect(() => readFileSync(join(packageRoot(), link)), link).not.toThrow(/ENOENT/);
});
