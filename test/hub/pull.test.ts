/** What a pull asks for, where it puts it, and what it leaves alone. */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { hubFixture } from './fixture.ts';
import { commit, miniFiles, miniLlama, neededNames, repositoryOf, shardedFiles, small } from './repositories.ts';
import { digest, name } from './server.ts';

const hub = hubFixture();
const original = (file: string) => readFileSync(join(miniLlama, file));
/** Compared by the buffer itself: vitest compares element by element, which takes seconds. */
const isOriginal = (path: string, file: string) => readFileSync(path).equals(original(file));

test('only the files of a checkpoint are asked for, once each', async () => {
  const { files } = await hub.pull();
  expect(hub.server.files).toEqual(neededNames);
  expect(files).toEqual(
    neededNames.map((file) => ({ name: file, bytes: original(file).length, downloaded: original(file).length })),
  );
});

test('the shared cache is laid out as Hugging Face does: blobs by digest, links from the commit, a ref', async () => {
  const { folder, commit: found, unsupported } = await hub.pull();
  expect({ folder, found, unsupported }).toEqual({
    folder: join(hub.cached, 'snapshots', commit),
    found: commit,
    unsupported: null,
  });
  for (const file of neededNames) {
    const target = readlinkSync(join(folder, file));
    expect(isOriginal(join(folder, file), file)).toBe(true);
    // Programs that know nothing of kvlens say what the blob must be called.
    const path = join(miniLlama, file);
    const id = file.endsWith('.safetensors')
      ? execFileSync('sha256sum', [path], { encoding: 'utf8' }).split(' ')[0]
      : execFileSync('git', ['hash-object', '--no-filters', path], { encoding: 'utf8' }).trim();
    expect(target).toBe(join('..', '..', 'blobs', id));
  }
  expect(readdirSync(join(hub.cached, 'blobs'))).toHaveLength(neededNames.length);
  expect(readFileSync(join(hub.cached, 'refs', 'main'), 'utf8')).toBe(commit);
  expect(readdirSync(join(hub.cached, 'refs'))).toEqual(['main']);
});

test('a pulled snapshot opens and has the same weights as the checkpoint', async () => {
  const { folder } = await hub.pull();
  const pulled = await openCheckpoint(folder);
  const expected = await openCheckpoint(miniLlama);
  expect(await pulled.sha256()).toBe(await expected.sha256());
  expect(await pulled.tokenizerSha256()).toBe(await expected.tokenizerSha256());
  expect(pulled.name).toBe('mini');
});

test('a second run asks for no file', async () => {
  await hub.pull();
  hub.server.seen = [];
  const { files } = await hub.pull({ verify: true });
  expect(hub.server.files).toEqual([]);
  expect(files.map(({ downloaded }) => downloaded)).toEqual(neededNames.map(() => 0));
});

test('a commit that shares files with one that is there brings the others alone', async () => {
  await hub.pull();
  const next = 'f'.repeat(40);
  const config = small(JSON.stringify({ ...JSON.parse(String(original('config.json'))), initializer_range: 0.5 }));
  hub.server.repositories[name] = {
    refs: { main: next },
    commits: { [next]: { ...miniFiles(), 'config.json': config }, [commit]: miniFiles() },
  };
  hub.server.seen = [];
  const { folder } = await hub.pull();
  expect(hub.server.files).toEqual(['config.json']);
  expect(readFileSync(join(folder, 'config.json'))).toEqual(config.content);
  expect(readFileSync(join(hub.cached, 'snapshots', commit, 'config.json'))).toEqual(original('config.json'));
  expect(readFileSync(join(hub.cached, 'refs', 'main'), 'utf8')).toBe(next);
});

test('an index brings the shards it names and no other weights', async () => {
  hub.server.repositories[name] = repositoryOf(shardedFiles());
  const { folder, unsupported } = await hub.pull();
  expect(unsupported).toBeNull();
  expect(hub.server.files.slice(4)).toEqual([
    'model.safetensors.index.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
  ]);
  const pulled = await openCheckpoint(folder);
  const expected = await openCheckpoint(miniLlama);
  for (const key of expected.tensors.keys()) {
    const values = [pulled, expected].map((checkpoint) => Buffer.from(checkpoint.readTensor(key).buffer));
    expect(values[0].equals(values[1]), key).toBe(true);
  }
});

test('model.safetensors goes before an index, as it does when kvlens reads a folder', async () => {
  hub.server.repositories[name] = repositoryOf({ ...shardedFiles(), ...miniFiles() });
  await hub.pull();
  expect(hub.server.files).toEqual(neededNames);
});

test.each(['refs/pr/1', commit])('--revision %s', async (revision) => {
  const { folder, commit: found } = await hub.pull({ revision });
  expect({ folder, found }).toEqual({ folder: join(hub.cached, 'snapshots', commit), found: commit });
  // A commit is no ref; the others go below refs/ with their slashes.
  const ref = join(hub.cached, 'refs', 'refs', 'pr', '1');
  expect(existsSync(ref)).toBe(revision !== commit);
  expect(existsSync(join(hub.cached, 'refs'))).toBe(revision !== commit);
});

test('a listing of many pages is read to its end', async () => {
  hub.server.pageSize = 2;
  await hub.pull();
  expect(hub.server.files).toEqual(neededNames);
});

test('an architecture kvlens does not know is told before the weights are asked for, and the files are kept', async () => {
  hub.server.repositories[name] = repositoryOf({ ...miniFiles(), 'config.json': small('{"model_type":"gpt2"}') });
  let askedBefore: string[] = [];
  const { folder, unsupported } = await hub.pull({
    onUnsupported: () => {
      askedBefore = hub.server.files;
    },
  });
  expect(unsupported).toBe(
    `${join(folder, 'config.json')}: model_type is "gpt2", expected one of llama, mistral, gemma2, qwen2, qwen3`,
  );
  expect(askedBefore).toEqual(neededNames.slice(0, 4));
  expect(isOriginal(join(folder, 'model.safetensors'), 'model.safetensors')).toBe(true);
});

test('weights that do not fit config.json are told', async () => {
  const config = { ...JSON.parse(String(original('config.json'))), num_hidden_layers: 7 };
  hub.server.repositories[name] = repositoryOf({ ...miniFiles(), 'config.json': small(JSON.stringify(config)) });
  expect((await hub.pull()).unsupported).toMatch(/tensor model\.layers\.6\.\S+ is missing/);
});

describe('a blob of the shared cache', () => {
  const id = digest(miniFiles()['model.safetensors']);
  const blob = () => join(hub.cached, 'blobs', id);

  test('that is cut is replaced', async () => {
    await hub.pull();
    truncateSync(blob(), 1000);
    hub.server.seen = [];
    const { folder } = await hub.pull();
    expect(hub.server.files).toEqual(['model.safetensors']);
    expect(isOriginal(join(folder, 'model.safetensors'), 'model.safetensors')).toBe(true);
  });

  test('with another content but the right size is found with --verify', async () => {
    await hub.pull();
    const bytes = original('model.safetensors');
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(blob(), bytes);
    hub.server.seen = [];
    await hub.pull();
    expect(hub.server.files).toEqual([]);
    await hub.pull({ verify: true });
    expect(hub.server.files).toEqual(['model.safetensors']);
    expect(isOriginal(blob(), 'model.safetensors')).toBe(true);
  });

  test('whose link is gone, or leads elsewhere, is linked anew', async () => {
    const { folder } = await hub.pull();
    const path = join(folder, 'config.json');
    execFileSync('ln', ['-sfn', '../../blobs/none', path]);
    hub.server.seen = [];
    await hub.pull();
    expect(hub.server.files).toEqual([]);
    expect(readFileSync(path)).toEqual(original('config.json'));
  });
});

describe('--to DIR', () => {
  const to = () => join(hub.home, 'models', 'mini');

  test('holds plain files and nothing else', async () => {
    const { folder } = await hub.pull({ to: to() });
    expect(folder).toBe(to());
    expect(readdirSync(folder).sort()).toEqual([...neededNames].sort());
    for (const file of neededNames) expect(isOriginal(join(folder, file), file)).toBe(true);
    expect(existsSync(join(hub.home, 'hub'))).toBe(false);
  });

  test('keeps what is there with the right content, whoever put it there', async () => {
    mkdirSync(to(), { recursive: true });
    copyFileSync(join(miniLlama, 'model.safetensors'), join(to(), 'model.safetensors'));
    // A file of the repository that nobody needs, and the folder Hugging Face's own tools leave.
    writeFileSync(join(to(), 'README.md'), 'mine');
    mkdirSync(join(to(), '.cache'));
    await hub.pull({ to: to() });
    expect(hub.server.files).toEqual(neededNames.slice(0, 4));
    expect(readFileSync(join(to(), 'README.md'), 'utf8')).toBe('mine');
  });

  test.each([
    ['another size', 'config.json', '{}'],
    ['the same size', 'generation_config.json', 'x'.repeat(original('generation_config.json').length)],
  ])('never overwrites a file that differs: %s', async (_, file, content) => {
    mkdirSync(to(), { recursive: true });
    writeFileSync(join(to(), file), content);
    const { message, exitCode } = await hub.refusal({ to: to() });
    expect(message).toContain(`${file} differs from ${name}`);
    expect(exitCode).toBe(3);
    expect(hub.server.files).toEqual([]);
    expect(readFileSync(join(to(), file), 'utf8')).toBe(content);
    expect(readdirSync(to())).toEqual([file]);
  });

  test('takes no link for a file: a checkpoint whose files lie elsewhere does not open', async () => {
    const victim = join(hub.home, 'victim');
    copyFileSync(join(miniLlama, 'config.json'), victim);
    mkdirSync(to(), { recursive: true });
    symlinkSync(victim, join(to(), 'config.json'));
    expect((await hub.refusal({ to: to() })).message).toMatch(/config\.json differs .*found no plain file/);
  });

  test('refuses a folder with something else in it, and a file', async () => {
    mkdirSync(to(), { recursive: true });
    writeFileSync(join(to(), 'thesis.tex'), 'mine');
    expect((await hub.refusal({ to: to() })).message).toBe(
      `--to ${to()}: holds thesis.tex, which is not a file of ${name}`,
    );
    const file = join(to(), 'thesis.tex');
    expect((await hub.refusal({ to: file })).message).toBe(`--to ${file}: is a file, expected a folder`);
    expect(readdirSync(to())).toEqual(['thesis.tex']);
  });

  test('a folder the system does not make is an error that names it', async () => {
    const { message, exitCode } = await hub.refusal({ to: '/proc/kvlens/mini' });
    expect(message).toMatch(/^\/proc\/kvlens\/mini: cannot be written/);
    expect(exitCode).toBe(3);
  });
});
