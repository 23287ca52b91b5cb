/** Graph folders: what was committed is what an export writes, and what was changed is refused. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { embeddedModels, packageRoot } from '../../src/checkpoint/embedded.ts';
import { expandKeyValueHeads } from '../../src/checkpoint/expand-kv.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { InputError } from '../../src/errors.ts';
import { type ExportOptions, exportedHooks } from '../../src/graph/export.ts';
import { parseKernels, resolveKernels } from '../../src/graph/kernels.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { graphFolderFiles, openGraphFolder, writeGraphFolder } from '../../src/store/graph-folder.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

const folder = mkdtempSync(join(tmpdir(), 'kvlens-graphs-'));
const tiny = writeTinyCheckpoint();
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  removeCheckpoint(tiny);
});

async function options(dir: string, changes: Partial<ExportOptions> = {}, name?: string): Promise<ExportOptions> {
  return {
    checkpoint: await openCheckpoint(dir, name === undefined ? {} : { name }),
    policy: resolvePolicy('fp16'),
    kernels: resolveKernels('ort'),
    hooks: exportedHooks,
    singleFile: false,
    ...changes,
  };
}

describe.each(embeddedModels())('$name', ({ name, dir }) => {
  const committed = join(packageRoot(), 'graphs', name, 'fp16-ort');

  test('an export equals the committed graphs, byte for byte (npm run graphs writes them)', async () => {
    const files = await graphFolderFiles(committed, await options(dir, {}, name));
    expect(readdirSync(committed).sort()).toEqual(files.map(([file]) => file).sort());
    for (const [file, bytes] of files) expect(readFileSync(join(committed, file)).equals(bytes), file).toBe(true);
  });

  test('the committed graphs are a MODEL, and hold no weights', async () => {
    const opened = await openGraphFolder(committed);
    expect({ model: opened.checkpoint.name, policy: opened.policy.name, kernels: opened.kernels.name }).toEqual({
      model: name,
      policy: 'fp16',
      kernels: 'ort',
    });
    const bytes = readdirSync(committed).reduce((sum, file) => sum + statSync(join(committed, file)).size, 0);
    expect(bytes).toBeLessThan(200_000);
  });
});

test('a single file has its weights beside it', async () => {
  const out = join(folder, 'single');
  const files = await writeGraphFolder(out, await options(tiny, { singleFile: true }));
  expect(files).toEqual(['model.onnx', 'graph.json', 'model.safetensors']);
  const weights = readFileSync(join(out, 'model.safetensors'));
  expect(weights.equals(readFileSync(join(tiny, 'model.safetensors')))).toBe(true);
  expect((await openGraphFolder(out)).checkpoint.config.layers).toBe(2);
});

test('graph.json says that heads are repeated, and nothing where they are not', async () => {
  const grouped = writeTinyCheckpoint({ attention: 'gqa' });
  const stored = await openCheckpoint(grouped);
  const written = async (checkpoint: Checkpoint) => {
    const files = await graphFolderFiles(folder, await options(grouped, { checkpoint }));
    return JSON.parse(Buffer.from(files.at(-1)![1]).toString()) as Record<string, unknown>;
  };
  const [plain, expanded] = [await written(stored), await written(expandKeyValueHeads(stored))];
  removeCheckpoint(grouped);
  // Folders of earlier versions do not have the key.
  expect(plain).not.toHaveProperty('expandedKv');
  expect(expanded).toMatchObject({ expandedKv: true, model: plain.model, checkpoint: plain.checkpoint });
  expect(expanded.graphs).not.toEqual(plain.graphs);
});

describe('kernels of a graph folder', () => {
  const own = {
    name: 'own',
    prefill: {},
    decode: { splitKv: 16, classes: { mlp: { slices: 4, combine: 'storage' } } },
  };

  test('a named preset is stored by its name, one from JSON whole; both are opened again', async () => {
    for (const kernels of [resolveKernels('split-k:4:storage'), parseKernels(own, 'test')]) {
      const out = join(folder, `kernels-${kernels.name.replaceAll(':', '-')}`);
      await writeGraphFolder(out, await options(tiny, { kernels }));
      const stored: unknown = JSON.parse(readFileSync(join(out, 'graph.json'), 'utf8')).kernels;
      if (kernels.name === 'own') expect(stored).toMatchObject({ name: 'own', decode: own.decode });
      else expect(stored).toBe('split-k:4:storage');
      expect((await openGraphFolder(out)).kernels).toEqual(kernels);
    }
  });

  test('stages that decode as they prefill are written once', async () => {
    const kernels = parseKernels({ name: 'own', prefill: {}, decode: { classes: { head: { slices: 2 } } } }, 'test');
    const files = await graphFolderFiles(folder, await options(tiny, { kernels }));
    expect(files.map(([file]) => file)).toEqual([
      ...['embed.onnx', 'block_0.onnx', 'block_1.onnx', 'unembed_prefill.onnx', 'unembed_decode.onnx', 'graph.json'],
    ]);
  });
});

describe('a graph folder is refused', async () => {
  const good = join(folder, 'good');
  await writeGraphFolder(good, await options(tiny));
  const manifest = JSON.parse(readFileSync(join(good, 'graph.json'), 'utf8'));
  let copies = 0;

  /** A copy of the good folder with something broken. */
  function broken(change: (dir: string) => void): string {
    const dir = join(folder, `broken-${copies++}`);
    cpSync(good, dir, { recursive: true });
    change(dir);
    return dir;
  }
  const json = (changes: object) => (dir: string) =>
    writeFileSync(join(dir, 'graph.json'), JSON.stringify({ ...manifest, ...changes }));

  test.each<[string, (dir: string) => void, RegExp]>([
    ['with a changed graph', (dir) => writeFileSync(join(dir, 'embed.onnx'), 'x'), /embed\.onnx: differs/],
    ['without one of its graphs', (dir) => rmSync(join(dir, 'block_1.onnx')), /block_1\.onnx: cannot be read/],
    ['with a graph.json that is not JSON', (dir) => writeFileSync(join(dir, 'graph.json'), '{'), /not valid JSON/],
    ['of another version', json({ schemaVersion: 2 }), /schemaVersion/],
    ['with an unknown key', json({ weightsFrom: '/etc' }), /weightsFrom/],
    [
      'of another architecture',
      json({ architecture: 'gemma2' }),
      /architecture: found "gemma2", the checkpoint is llama/,
    ],
    [
      'that calls its checkpoint something else',
      json({ model: 'other' }),
      /model: found "other", the checkpoint is kvl/,
    ],
    [
      'whose weights are elsewhere',
      json({ weights: '..' }),
      /weights: found "\.\.", expected the folder of the weights/,
    ],
    ['whose weights are nowhere', json({ weights: 'none' }), /weights: found "none", expected the folder of the wei/],
    [
      'that repeats the heads of multi-head attention',
      json({ expandedKv: true }),
      /expandedKv: found true, the checkpoint has as many K\/V heads as heads \(4\)/,
    ],
    ['that repeats heads in words', json({ expandedKv: 'yes' }), /expandedKv/],
    ['with a hook that is none', json({ hooks: 'blocks.9.*' }), /hooks: found "blocks\.9\.\*"/],
    ['with a preset that is none', json({ kernels: { name: 'x', prefill: {} } }), /kernels/],
    [
      'with a preset under a name of another',
      json({ kernels: { name: 'ort', prefill: {}, decode: {} } }),
      /name: "ort"/,
    ],
    ['with an unknown preset', json({ kernels: 'magic' }), /kernels: found "magic"/],
    ['with an absolute path', json({ checkpoint: { ...manifest.checkpoint, path: tiny } }), /expected a relative path/],
    ['of a checkpoint that is not there', json({ checkpoint: { ...manifest.checkpoint, path: '../none' } }), /none/],
    ['with a policy that is none', json({ policy: { name: 'x' } }), /policy/],
    [
      'whose graph leaves the folder',
      json({ graphs: [{ ...manifest.graphs[0], file: '../../embed.onnx' }] }),
      /expected a plain file name/,
    ],
  ])('%s', async (_, change, says) => {
    const error: unknown = await openGraphFolder(broken(change)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toMatch(says);
    expect(String(error)).not.toContain('\n');
  });

  test('when the weights of its checkpoint have changed', async () => {
    const other = join(folder, 'checkpoint');
    cpSync(tiny, other, { recursive: true });
    const out = join(folder, 'of-other');
    mkdirSync(out);
    await writeGraphFolder(out, await options(other));
    const file = join(other, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(file, bytes);
    await expect(openGraphFolder(out)).rejects.toThrow(/the weights have sha256 [0-9a-f]{12}…, .*expects/);
  });
});
