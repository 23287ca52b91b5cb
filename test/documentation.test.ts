/** Documentation leads where it says, and names what exists. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../src/checkpoint/embedded.ts';
import { commands } from '../src/cli/commands/index.ts';
import { hookDefinitions } from '../src/graph/hooks.ts';
import { shippedSpecs } from '../src/patching/specification/spec-files.ts';
import { tables } from '../src/store/schemas.ts';

const root = packageRoot();
const markdown = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file))
    .sort();
const pages = ['README.md', ...markdown('docs')];
const tasks = markdown('docs/tasks');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const prose = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, '');

/** Anchors of a page as GitHub makes them: lower case, punctuation dropped, blanks to hyphens, repeats numbered. */
function anchors(text: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading] of prose(text).matchAll(/^#{1,6} +(.+)$/gm)) {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = words.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');
    let name = slug;
    for (let n = 1; found.has(name); n++) name = `${slug}-${n}`;
    found.add(name);
  }
  return found;
}

function brokenLinks(page: string, text: string): string[] {
  // Links in code spans are text.
  const links = [
    ...prose(text)
      .replaceAll(/`[^`\n]*`/g, 'code')
      .matchAll(/\]\(([^)\s]+)\)|src(?:set)?="([^"]+)"/g),
  ].map((match) => match[1] ?? match[2]);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path, anchor] = link.split('#');
      const target = path === '' ? page : relative(root, resolve(root, dirname(page), path));
      if (target.startsWith('..') || !existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchors(read(target)).has(anchor);
    });
}

test.each(pages)('every relative link and anchor of %s leads somewhere', (page) => {
  expect(brokenLinks(page, read(page))).toEqual([]);
});

test('a missing file, a missing anchor and a path out of the package are broken links', () => {
  const text = '[a](nowhere.md) [b](gates.md#nothing) [c](../../x) [d](gates.md#gates) [e](https://example.org)';
  expect(brokenLinks('docs/x.md', text)).toEqual(['nowhere.md', 'gates.md#nothing', '../../x']);
});

test('the index leads to every page, and the README to the index', () => {
  expect(read('README.md')).toContain('](docs/README.md)');
  const index = read('docs/README.md');
  for (const page of pages.filter((name) => name !== 'README.md' && name !== 'docs/README.md')) {
    expect(index, page).toContain(`](${relative('docs', page)}`);
  }
});

/** `kvlens …` lines of code blocks, and code spans that begin with it and name more than the command. */
function quotedCommands(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block.split('\n'));
  const spans = [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);
  return [...blocks, ...spans]
    .map((line) =>
      line
        .replace(/^npx /, '')
        .replace(/ +#.*$/, '')
        .trim(),
    )
    .filter((line) => line.startsWith('kvlens '));
}

/** Words as a shell splits them: quotes hold blanks. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3]);
}

/** Parse with the program's own definitions; nothing runs. @throws as the command line would */
function parse(line: string): void {
  const [, name, ...args] = words(line);
  const definition = commands.find((command) => command.name === name);
  if (!definition) throw new Error(`unknown command ${name}`);
  const command = new Command(name).exitOverride().configureOutput({ writeErr: () => {} });
  if (definition.takesModel) command.argument('<MODEL>');
  definition.configure(command);
  command.action(() => {});
  command.parse(args, { from: 'user' });
}

/** A page that the contract fixes may be there before its command is. */
const names: ReadonlySet<string> = new Set(commands.map(({ name }) => name));
const isKnown = (line: string) => words(line)[1] !== 'report' || names.has('report');

test.each(tasks)('every command of %s parses', (page) => {
  const lines = quotedCommands(read(page));
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines.filter(isKnown)) expect(() => parse(line), line).not.toThrow();
});

test('an unknown command, an unknown option and a wrong value do not parse', () => {
  for (const line of [
    'kvlens divert x',
    'kvlens diverge x --limits 3',
    'kvlens diverge x --limit none',
    'kvlens patch x',
  ]) {
    expect(() => parse(line), line).toThrow();
  }
});

const columns: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(tables).map(([table, found]) => [table, Object.keys(found)]),
);
const hookNames = new Set(hookDefinitions.flatMap(({ name, kind }) => [name, kind]));
const otherNames = new Set(['read_ipc_stream', 'open_stream', 'scan_ipc', 'open_file']);

/** What a code span names that does not exist; null where it names nothing that can be checked, or all is well. */
function unknownName(span: string): string | null {
  const file = /^([a-z]+)\.arrow$/.exec(span);
  if (file) return columns.has(file[1]) ? null : `table ${span}`;
  const column = /^([a-z]+)\.([a-z_0-9]+)$/.exec(span);
  const known = column && columns.get(column[1]);
  if (column && known) return known.includes(column[2]) ? null : `column ${span}`;
  const hook = /^(?:blocks\.\d+\.|\*\.)?((?:[a-z_0-9]+\.)*hook_[a-z_0-9]+)$/.exec(span);
  if (hook) {
    const name = hook[1];
    return hookNames.has(name) || [...hookNames].some((full) => full.endsWith(`.${name}`)) ? null : `hook ${span}`;
  }
  const word = /^[a-z]+(_[a-z0-9]+)+$/.test(span);
  const exists = hookNames.has(span) || [...columns.values()].flat().includes(span) || otherNames.has(span);
  return word && !exists ? `name ${span}` : null;
}

const spansOf = (text: string) => [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, span]) => span);
const barefiles = (text: string) => [...prose(text).matchAll(/\b[a-z]+\.arrow\b/g)].map(([name]) => name);

test.each(tasks)('every hook, table and column of %s exists', (page) => {
  const names = [...spansOf(read(page)), ...barefiles(read(page))];
  expect(names.map(unknownName).filter((name) => name !== null)).toEqual([]);
});

test('every table and column of the glossary exists', () => {
  const named = spansOf(read('docs/glossary.md')).filter((span) => columns.has(span.split('.')[0]));
  expect(named.length).toBeGreaterThan(15);
  expect(named.map(unknownName).filter((name) => name !== null)).toEqual([]);
});

describe('names that do not exist are found', () => {
  test.each(['nosuch.arrow', 'layers.rel_l3', 'blocks.0.attn.hook_nothing', 'resid_past'])('%s', (span) => {
    expect(unknownName(span)).not.toBeNull();
  });
});

test('every spec that a task page’s table offers ships', () => {
  const rows = [...read('docs/tasks/patch.md').matchAll(/^\| [^|]+\| (`[^|]+) \|$/gm)].map(([, cell]) => cell);
  const names = rows.slice(0, 5).flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => !shippedSpecs().includes(name))).toEqual([]);
});
