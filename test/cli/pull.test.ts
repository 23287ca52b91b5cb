/** `kvlens pull` as a process, against a hub on this machine. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { errorResult, results } from '../../src/cli/contract.ts';
import { hubFixture } from '../hub/fixture.ts';
import { commit, miniFiles, miniLlama, neededNames, repositoryOf, small } from '../hub/repositories.ts';
import { digest, name } from '../hub/server.ts';
import { ensureBuilt, type Finished, kvlens, type RunOptions } from './kvlens.ts';

const hub = hubFixture();
beforeAll(ensureBuilt);

/** None of the variables of the machine the tests run on. */
const none = { HF_TOKEN: '', HF_HUB_CACHE: '', HUGGINGFACE_HUB_CACHE: '', HF_HUB_OFFLINE: '', HF_TOKEN_PATH: '' };

function pull(arguments_: string[], { env = {}, ...options }: RunOptions = {}): Promise<Finished> {
  const own = { HF_HOME: hub.home, HF_ENDPOINT: hub.server.endpoint };
  return kvlens(['pull', ...arguments_], { ...options, env: { ...none, ...own, ...env } });
}

test('the folder it prints is a MODEL for the next command', async () => {
  const { code, stdout, stderr } = await pull([name]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const folder = /^ {2}model +(.+)$/m.exec(stdout)?.[1] ?? '';
  expect(stdout).toContain(`  try            kvlens diverge ${folder} --prompt "Once upon a time"\n`);
  const given = ['generate', folder, '--prompt', 'Tom has 3 apples.\n', '--max-new-tokens', '4', '--json'];
  const [pulled, embedded] = [await kvlens(given), await kvlens(given.with(1, 'mini-llama'))];
  expect(results.generate.parse(JSON.parse(pulled.stdout)).arms).toEqual(JSON.parse(embedded.stdout).arms);
});

test('a person reads which files came and which were there', async () => {
  await pull([name]);
  const { stdout } = await pull([name]);
  expect(stdout.split('\n').slice(0, 6)).toEqual([
    'kvlens/mini  main 0123456789ab  5 files, 2.6 MB',
    '  config.json               530 B  was there',
    '  generation_config.json     67 B  was there',
    '  tokenizer.json           9.3 kB  was there',
    '  tokenizer_config.json     239 B  was there',
    '  model.safetensors        2.5 MB  was there',
  ]);
});

test('--json prints the contract', async () => {
  const to = join(hub.home, 'a folder');
  const { code, stdout } = await pull([name, '--to', to, '--revision', 'refs/pr/1', '--json']);
  const found = results.pull.parse(JSON.parse(stdout));
  expect(code).toBe(0);
  expect(found).toEqual({
    folder: to,
    repository: name,
    revision: 'refs/pr/1',
    commit,
    files: neededNames.map((file) => {
      const bytes = statSync(join(miniLlama, file)).size;
      return { name: file, bytes, downloaded: bytes };
    }),
    unsupported: null,
  });
  expect((await pull([name, '--to', to])).stdout).toContain(`kvlens diverge '${to}' --prompt`);
});

test('an architecture kvlens does not know: the files are kept, the result is printed, exit code 3', async () => {
  hub.server.repositories[name] = repositoryOf({ ...miniFiles(), 'config.json': small('{"model_type":"gpt2"}') });
  const { code, stdout, stderr } = await pull([name, '--json']);
  const { folder, unsupported } = results.pull.parse(JSON.parse(stdout));
  expect(code).toBe(3);
  expect(unsupported).toMatch(/model_type is "gpt2"/);
  expect(stderr).toBe(`note: kvlens cannot use this checkpoint: ${unsupported}\n`);
  expect(existsSync(join(folder, 'model.safetensors'))).toBe(true);
  const text = await pull([name, '--quiet']);
  expect({ code: text.code, stderr: text.stderr }).toEqual({ code: 3, stderr: '' });
  expect(text.stdout.replaceAll(/\s+/g, ' ')).toContain(`! NOT SUPPORTED ${unsupported}`);
  expect(text.stdout).not.toContain('kvlens diverge');
});

describe('what goes wrong is one line, a hint and an exit code', () => {
  test.each<[string, string[], number, RegExp]>([
    ['no repository', [], 2, /missing required argument 'ORG\/NAME'/],
    ['no name of one', ['mini'], 2, /ORG\/NAME: found "mini"/],
    ['an empty revision', [name, '--revision', ''], 2, /--revision: found ""/],
    ['a missing repository', ['kvlens/none'], 3, /kvlens\/none: not found on http:/],
    ['a missing revision', [name, '--revision', 'v9'], 3, /kvlens\/mini: no revision v9/],
  ])('%s', async (_, arguments_, exit, says) => {
    const { code, stdout, stderr } = await pull([...arguments_, '--json']);
    expect(stderr.match(/^kvlens: .*$/gm)).toEqual([expect.stringMatching(says)]);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(exit);
    expect(stderr).toContain(`kvlens: ${errorResult.parse(JSON.parse(stdout)).error.message}\n`);
  });

  test('no network', async () => {
    const { code, stderr } = await pull([name], { env: { HF_ENDPOINT: 'http://hub.invalid' } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^kvlens: http:\/\/hub\.invalid: cannot be reached \(.*\)\n {2}hint: check the network/);
  });

  test('a cache that is none', async () => {
    mkdirSync(join(hub.home, 'hub'));
    writeFileSync(hub.cached, 'a file');
    const { code, stderr } = await pull([name]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^kvlens: \S+models--kvlens--mini\S*: /);
  });
});

describe('a download that takes a while', () => {
  const weights = 'model.safetensors';
  const partial = () => join(hub.cached, 'blobs', `${digest(miniFiles()[weights])}.incomplete`);

  test('Ctrl-C keeps what has arrived, exits 130, and the same command goes on', async () => {
    hub.server.faults = { [weights]: { slow: true } };
    const { code, stdout, stderr } = await pull([name, '--json'], {
      started: (child) => {
        const poll = setInterval(() => {
          if (!existsSync(partial())) return;
          clearInterval(poll);
          child.kill('SIGINT');
        }, 10);
      },
    });
    expect(code).toBe(130);
    expect(stderr).toBe('kvlens: interrupted; the same command goes on where it stopped\n');
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'interrupted' } });
    const reached = statSync(partial()).size;
    hub.server.faults = {};
    hub.server.seen = [];
    const again = results.pull.parse(JSON.parse((await pull([name, '--json'])).stdout));
    expect(hub.server.seen.find(({ host }) => host === 'cdn')?.range).toBe(`bytes=${reached}-`);
    const pulled = readFileSync(join(again.folder, weights));
    expect(pulled.equals(readFileSync(join(miniLlama, weights)))).toBe(true);
  });

  test('tells file, share, speed and time left on stderr, and --quiet does not', async () => {
    // A quarter of the usual speed: the progress line begins after two seconds.
    hub.server.faults = { [weights]: { slow: true, pieceBytes: 16 * 1024 } };
    const { stdout, stderr } = await pull([name]);
    expect(stdout).toContain('downloaded');
    expect(stderr).toMatch(/^model\.safetensors {2}[\d.]+ [kM]B\/2\.5 MB \(\d+ %\) {2}[\d.]+ [kM]B\/s {2}\d+ s left$/m);
    hub.server.faults = { [weights]: { slow: true, pieceBytes: 16 * 1024 } };
    const quiet = await pull([name, '--to', join(hub.home, 'quiet'), '--quiet']);
    expect({ code: quiet.code, stderr: quiet.stderr }).toEqual({ code: 0, stderr: '' });
  });
});
