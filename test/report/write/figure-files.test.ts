/** Figures as files: one SVG and one PNG for each that the run has rows for, and a reason for each of the others. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { InputError } from '../../../src/errors.ts';
import { figureNames } from '../../../src/report/catalogue.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import { type FigureFiles, png, writeFigures } from '../../../src/report/write/figure-files.ts';
import { temporaryFolder } from '../../store/folder.ts';

const study = 'notebooks/runs/study';
const folder = join(temporaryFolder(), 'a', 'b');
const told: [number, number][] = [];
let written: FigureFiles;
beforeAll(async () => {
  written = await writeFigures(openRunFolder(study), folder, { progress: (done, of) => told.push([done, of]) });
});

/** Width and height of a PNG, from its first chunk. */
function sizeOf(path: string) {
  const bytes = readFileSync(path);
  expect([...bytes.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  expect(bytes.subarray(12, 16).toString('latin1')).toBe('IHDR');
  expect(bytes.subarray(-8, -4).toString('latin1')).toBe('IEND');
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

test('every figure is drawn or missing, never both', () => {
  const drawn = figureNames.filter((name) => written.files.includes(`${name}.svg`));
  expect([...drawn, ...written.missing.map(({ figure }) => figure)].sort()).toEqual([...figureNames].sort());
  expect(drawn).toEqual(expect.arrayContaining(['verdict-table', 'survival', 'margin-drift', 'accuracy']));
});

test('the folder holds these files and no other', () => {
  expect(readdirSync(folder).sort()).toEqual([...written.files].sort());
});

test('every SVG has a PNG of twice its size, and follows the reader’s light or dark', () => {
  expect(written.png).toBe(true);
  for (const file of written.files.filter((name) => name.endsWith('.svg'))) {
    const svg = readFileSync(join(folder, file), 'utf8');
    const [, width, height] = /^<svg [^>]*width="([\d.]+)" height="([\d.]+)"/.exec(svg) ?? [];
    expect(svg.trimEnd()).toMatch(/<\/svg>$/);
    expect(svg).toContain('prefers-color-scheme');
    const size = sizeOf(join(folder, file.replace('.svg', '.png')));
    expect(Math.abs(size.width - 2 * Number(width))).toBeLessThanOrEqual(2);
    expect(Math.abs(size.height - 2 * Number(height))).toBeLessThanOrEqual(2);
  }
});

test('what is missing says why and which command makes it', () => {
  expect(written.missing.length).toBeGreaterThan(0);
  for (const { missing, command } of written.missing) {
    expect(missing).toMatch(/^[A-Zl].*\.$/);
    expect(command).toMatch(/^kvlens (diverge|patch|study) /);
  }
});

test('progress is told before each figure', () => {
  expect(told).toEqual(figureNames.map((_, i) => [i, figureNames.length]));
});

test('maps are wider than columns', async () => {
  const drift = temporaryFolder();
  await writeFigures(openRunFolder('notebooks/runs/drift'), drift);
  const width = (name: string) =>
    Number(/width="([\d.]+)"/.exec(readFileSync(join(drift, `${name}.svg`), 'utf8'))?.[1]);
  expect([width('drift-map'), width('survival')]).toEqual([960, 720]);
});

test('a PNG has pixels of its drawing on the page’s own background', () => {
  const path = join(temporaryFolder(), 'x.png');
  const svg = (content: string) => `<svg xmlns="http://www.w3.org/2000/svg" width="30" height="10">${content}</svg>`;
  writeFileSync(path, png(svg('<rect width="30" height="10" fill="#0B62A4"/>'), 3));
  expect(sizeOf(path)).toEqual({ width: 90, height: 30 });
  expect(png(svg(''))).not.toEqual(png(svg('<rect width="9" height="9" fill="#000"/>')));
});

describe('a folder that cannot be written is refused in one line, and nothing half-written stays', () => {
  const run = openRunFolder('notebooks/runs/drift');
  const refused = async (path: string) => {
    const error = await writeFigures(run, path).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InputError);
    return String(error);
  };

  test('a file of that name, or within its path', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, 'mine');
    expect(await refused(file)).toContain(file);
    expect(await refused(join(file, 'in'))).toContain(file);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  // In a process of its own: it must end, not be ended by this one's patience.
  test.skipIf(!existsSync('/proc/self'))('where the system makes no folders', () => {
    const script = `import { writeFigures } from ${JSON.stringify(join(process.cwd(), 'src/report/write/figure-files.ts'))};
      await writeFigures({ name: 'x', has: () => false, batches: async function* () {}, json: async () => null }, '/proc/a/b').catch((error) => console.log(error.message));`;
    const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      ...{ encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' },
    });
    expect(said).toMatch(/^\/proc\/a.*: cannot be written/);
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk: what was whole stays, what was not is gone', async () => {
    const full = temporaryFolder();
    writeFileSync(join(full, 'survival.svg'), 'old');
    symlinkSync('/dev/full', join(full, '.survival.svg.partial'));
    expect(await refused(full)).toContain('the disk is full');
    expect(readFileSync(join(full, 'survival.svg'), 'utf8')).toBe('old');
    expect(readdirSync(full).filter((name) => name.startsWith('.'))).toEqual([]);
    for (const name of readdirSync(full).filter((each) => each.endsWith('.png'))) sizeOf(join(full, name));
  });
});
