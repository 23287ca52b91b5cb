/** A run's folder: refused when it holds something, published whole, the manifest last. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { InputError } from '../../src/errors.ts';
import { openArrow } from '../../src/store/reader.ts';
import { RunDirectory } from '../../src/store/run-directory.ts';
import { schemaVersion } from '../../src/store/schemas.ts';
import { temporaryFolder } from './folder.ts';

const root = temporaryFolder();
let out = '';
let count = 0;
beforeEach(() => {
  out = join(root, `run-${count++}`);
});

const identity = { model: 'tiny', precision: 'fp16' };
const manifest = { identity, provenance: { host: 'here' } };
const controls = { gates: [{ name: 'repeat', passed: true }] };
const create = (path = out) => RunDirectory.create({ out: path, command: 'diverge', model: 'tiny' });

/** A run with one table and one kind of activations, not yet published. */
function fill(run: RunDirectory): RunDirectory {
  const prompts = run.table('prompts', identity, { prompt: ['a', 'b'], text: ['Hello'], gold: [], model: ['tiny'] });
  prompts.add({ prompt: 'a', index: 0, text: 'Hello', tokens: [1, 2], gold: null, model: 'tiny' });
  prompts.add({ prompt: 'b', index: 1, text: null, tokens: [], gold: null, model: 'tiny' });
  const dictionaries = { condition: ['c'], prompt: ['a', 'b'], hook: ['hook_embed'] };
  const options = { shape: [2], axes: ['d_model'], dtype: 'f16' as const, identity, dictionaries };
  for (const step of [0, 1]) {
    const place = { condition: 'c', prompt: 'a', arm: 'cached', hook: 'hook_embed', layer: -1, token: 1 };
    run.addActivation('embed', () => options, { ...place, step, position: step, value: Float32Array.of(step, -1) });
  }
  return run;
}

/** Visible and hidden files, without the folder activations itself. */
function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();
}

describe('a folder for a run', () => {
  test.each(['new', 'new/below/new'])('%s is made', (name) => {
    expect(create(join(out, name)).path).toBe(join(out, name));
    expect(readdirSync(join(out, name))).toEqual([]);
  });

  test('that is there and empty is taken', () => {
    mkdirSync(out);
    expect(create().path).toBe(out);
  });

  test('that holds something is refused, and keeps it', () => {
    mkdirSync(out);
    writeFileSync(join(out, '.hidden'), 'mine');
    expect(() => create()).toThrow(InputError);
    expect(() => create()).toThrow(`--out ${out}: the folder is not empty`);
    expect(filesIn(out)).toEqual(['.hidden']);
  });

  test('that is a file is refused', () => {
    writeFileSync(out, 'mine');
    expect(() => create()).toThrow(InputError);
    expect(() => create()).toThrow(`--out ${out}: is a file, expected a folder`);
    expect(() => create(join(out, 'below'))).toThrow(/cannot be written \(a part of the path is a file\)/);
  });

  test.skipIf(process.getuid?.() === 0)('that may not be written is refused (not as root: root may)', () => {
    mkdirSync(out, { mode: 0o555 });
    expect(() => create(join(out, 'below'))).toThrow(/cannot be written \(permission denied\)/);
    chmodSync(out, 0o755);
  });

  test('without --out is numbered, and never one that is there', () => {
    const before = process.cwd();
    mkdirSync(out);
    process.chdir(out);
    try {
      const paths = [1, 2].map(() => RunDirectory.create({ command: 'diverge', model: 'tiny' }).path);
      expect(paths).toEqual([join('kvlens-runs', 'diverge-tiny-1'), join('kvlens-runs', 'diverge-tiny-2')]);
      const { path } = RunDirectory.create({ command: 'diverge', model: 'tiny.v2 (expanded KV)' });
      expect(path).toBe(join('kvlens-runs', 'diverge-tiny.v2-expanded-KV-1'));
    } finally {
      process.chdir(before);
    }
  });
});

test('nothing has its final name before publish, everything after it', async () => {
  const run = fill(create());
  expect(filesIn(out).every((name) => /(^|\/)\.[^/]+\.partial$/.test(name))).toBe(true);
  run.publish(controls, manifest);
  expect(filesIn(out)).toEqual(['activations/embed.arrow', 'controls.json', 'manifest.json', 'prompts.arrow']);
  expect(run.files).toEqual(['prompts.arrow', 'activations/embed.arrow', 'controls.json', 'manifest.json']);
  expect(run.rows).toMatchObject({ 'activations/embed.arrow': 2 });
  const file = await openArrow(join(out, 'activations', 'embed.arrow'));
  expect((await file.table()).numRows).toBe(2);
  await file.close();
});

test('controls.json and manifest.json hold what was given, with the version of the layout', () => {
  fill(create()).publish(controls, manifest);
  const json = (name: string): unknown => JSON.parse(readFileSync(join(out, name), 'utf8'));
  expect(json('controls.json')).toEqual(controls);
  expect(json('manifest.json')).toEqual({ schemaVersion, ...manifest });
});

test('a run that is aborted leaves no folder', () => {
  fill(create()).abort();
  expect(existsSync(out)).toBe(false);
});

test('a run that is aborted keeps what was published on its own', () => {
  const run = fill(create());
  run.writeJson('controls.json', controls);
  run.abort();
  expect(filesIn(out)).toEqual(['controls.json']);
});

test.skipIf(!existsSync('/dev/full'))('a disk that fills up before controls.json publishes nothing', () => {
  const run = fill(create());
  symlinkSync('/dev/full', join(out, '.controls.json.partial'));
  expect(() => run.publish(controls, manifest)).toThrow(InputError);
  run.abort();
  expect(existsSync(out)).toBe(false);
});

test.skipIf(!existsSync('/dev/full'))('a disk that fills up at the last table publishes none of them', () => {
  const run = create();
  const conditions = run.table('vocab', identity, { model: ['tiny'] });
  conditions.add({ id: 0, string: null, bytes: null, model: 'tiny' });
  symlinkSync('/dev/full', join(out, '.prompts.arrow.partial'));
  expect(() => {
    run.table('prompts', identity, {});
    run.publish(controls, manifest);
  }).toThrow(InputError);
  run.abort();
  expect(existsSync(out)).toBe(false);
});

test.skipIf(!existsSync('/dev/full'))(
  'a disk that is full when a table is opened or closed leaves nothing of it',
  () => {
    const run = create();
    symlinkSync('/dev/full', join(out, '.vocab.arrow.partial'));
    expect(() => {
      const vocab = run.table('vocab', identity, { model: ['tiny'] });
      vocab.add({ id: 0, string: null, bytes: null, model: 'tiny' });
      run.publish(controls, manifest);
    }).toThrow(InputError);
    run.abort();
    expect(existsSync(out)).toBe(false);
  },
);
