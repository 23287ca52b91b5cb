/** What a hub refuses, what a hostile one tries, and that the token stays where it belongs. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hubFixture } from './fixture.ts';
import { commit, miniFiles, neededNames, repositoryOf, small } from './repositories.ts';
import { type HostedFile, listing, name } from './server.ts';

const hub = hubFixture();
const token = 'hf_abcdefghijklmnop';

/** Answer requests whose path fits with this, as a hostile hub might. */
function answer(fits: RegExp, reply: (response: ServerResponse) => void): void {
  hub.server.override = (path, response) => {
    if (!fits.test(path)) return false;
    reply(response);
    return true;
  };
}
const replyJson = (value: unknown) => (response: ServerResponse) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
};

describe('a repository', () => {
  test('that is not there is told, with what to try', async () => {
    const error = await hub.refusal({ repository: 'kvlens/none' });
    expect(error).toMatchObject({
      exitCode: 3,
      message: `kvlens/none: not found on ${hub.server.endpoint}, or private`,
      hint: 'check the spelling, or set HF_TOKEN if it is private',
    });
  });

  test('that is private is found with its token alone', async () => {
    hub.server.repositories[name] = repositoryOf(miniFiles(), { token });
    expect((await hub.refusal()).message).toMatch(/not found on .*, or private$/);
    expect((await hub.refusal({}, { HF_TOKEN: 'hf_another' })).hint).toMatch(/whether the token may read it/);
    expect((await hub.pull({}, { HF_TOKEN: token })).commit).toBe(commit);
  });

  test.each([
    ['without a token', {}, 'then set HF_TOKEN (or hf auth login)'],
    ['with one', { HF_TOKEN: token }, 'then use the HF_TOKEN of the account that accepted it'],
  ])('that is gated says where to accept its licence, %s', async (_, variables, next) => {
    hub.server.repositories[name] = repositoryOf(miniFiles(), { gated: true });
    const error = await hub.refusal({}, variables);
    expect(error).toMatchObject({
      exitCode: 3,
      message: `${name}: gated, expected an account that has accepted its licence`,
      hint: `accept it on ${hub.server.endpoint}/${name}, ${next}`,
    });
    // No folders of a download that never began.
    expect(readdirSync(hub.home)).toEqual([]);
  });

  test('without the revision is told', async () => {
    const error = await hub.refusal({ revision: 'v9' });
    expect(error).toMatchObject({
      exitCode: 3,
      message: `${name}: no revision v9, expected a branch, a tag or a commit`,
    });
  });

  test.each<[string, (files: Record<string, HostedFile>) => void, RegExp]>([
    [
      'without safetensors',
      (files) => delete files['model.safetensors'],
      /expected model\.safetensors or model\.safetensors\.index\.json \(found consolidated\.safetensors, mini\.gguf, pytorch_model\.bin\)$/,
    ],
    ['without config.json', (files) => delete files['config.json'], /expected config\.json \(found README\.md, /],
    [
      'whose index names a shard that is not there',
      (files) => {
        delete files['model.safetensors'];
        files['model.safetensors.index.json'] = small('{"weight_map":{"a":"gone.safetensors"}}');
      },
      /model\.safetensors\.index\.json names the shard gone\.safetensors, which the repository does not have$/,
    ],
    [
      'whose index names a shard outside',
      (files) => {
        delete files['model.safetensors'];
        files['model.safetensors.index.json'] = small('{"weight_map":{"a":"../../../etc/x.safetensors"}}');
      },
      /weight_map names the shard "\.\.\/\.\.\/\.\.\/etc\/x\.safetensors", expected a \.safetensors file beside it$/,
    ],
  ])('%s is told with what was found', async (_, change, says) => {
    const files = miniFiles();
    change(files);
    hub.server.repositories[name] = repositoryOf(files);
    const { message, exitCode } = await hub.refusal();
    expect(message).toMatch(says);
    expect(exitCode).toBe(3);
  });
});

describe('a name', () => {
  test.each([
    'mini',
    'a/b/c',
    '/b',
    'a/',
    '../b',
    'a/..',
    'a/b..c',
    'a/-b',
    'a b/c',
    'a/b?x',
    `a/${'b'.repeat(99)}`,
    'a/b.git',
    'a/b\u001b[31m',
    'a--b/c',
  ])('%j is none of a repository', async (repository) => {
    const { message, exitCode } = await hub.refusal({ repository });
    expect(message).toMatch(/^ORG\/NAME: found .*, expected a repository such as /);
    expect(exitCode).toBe(2);
    expect(hub.server.seen).toEqual([]);
  });

  test.each(['', '../x', 'a/../b', '/a', 'a//b', 'a b', 'a\n', '.'])('%j is none of a revision', async (revision) => {
    const { message, exitCode } = await hub.refusal({ revision });
    expect(message).toMatch(/^--revision: found .*, expected a branch, a tag or a commit$/);
    expect(exitCode).toBe(2);
    expect(hub.server.seen).toEqual([]);
  });

  test("of a page's address is answered with the name in it", async () => {
    const { hint } = await hub.refusal({ repository: 'https://hub.example/kvlens/mini/tree/main' });
    expect(hint).toBe('that would be kvlens pull kvlens/mini');
  });
});

describe('the token', () => {
  const owners = () =>
    new Set(hub.server.seen.filter(({ authorization }) => authorization !== null).map(({ host }) => host));

  test('goes to the endpoint with every request, and never to the host it redirects to', async () => {
    await hub.pull({}, { HF_TOKEN: token });
    const { seen } = hub.server;
    expect(seen.filter(({ host }) => host === 'cdn')).toHaveLength(1);
    for (const { host, authorization } of seen) expect(authorization).toBe(host === 'hub' ? `Bearer ${token}` : null);
  });

  test('is read from the file that a login writes, unless HF_TOKEN is set', async () => {
    writeFileSync(join(hub.home, 'token'), `${token}\n`);
    await hub.pull();
    expect(hub.server.seen[0].authorization).toBe(`Bearer ${token}`);
    hub.server.seen = [];
    await hub.pull({}, { HF_TOKEN: 'hf_other' });
    expect(hub.server.seen[0].authorization).toBe('Bearer hf_other');
  });

  test('does not follow the next page of a listing to another host', async () => {
    const other = hub.server.cdn.address();
    const port = typeof other === 'object' ? other?.port : null;
    hub.server.override = (path, response) => {
      if (path.includes('/tree/')) response.setHeader('link', `<http://127.0.0.1:${port}/page>; rel="next"`);
      if (path === '/page') replyJson([])(response);
      return path === '/page';
    };
    await hub.pull({}, { HF_TOKEN: token });
    expect(hub.server.seen.map(({ path }) => path)).toContain('/page');
    expect(owners()).toEqual(new Set(['hub']));
  });

  test('without one nothing is sent', async () => {
    await hub.pull();
    expect(owners()).toEqual(new Set());
  });

  test('with characters that no token has is refused and not shown', async () => {
    const { message, exitCode } = await hub.refusal({}, { HF_TOKEN: 'hf_secret\nX-Injected: 1' });
    expect(message).toBe('HF_TOKEN: found characters that no token has, expected one line such as hf_…');
    expect(exitCode).toBe(2);
  });

  test('that the hub does not know is told', async () => {
    answer(/^\/api/, (response) => {
      response.writeHead(401, { 'x-error-message': 'Invalid credentials in Authorization header' }).end();
    });
    expect((await hub.refusal({}, { HF_TOKEN: token })).message).toBe(`${hub.server.endpoint}: refuses the token`);
  });
});

describe('a hostile hub', () => {
  const entry = (path: string, more = {}) => ({ type: 'file', path, size: 2, oid: 'e'.repeat(40), ...more });

  test.each([
    '../evil.json',
    '/tmp/evil',
    'a/../../evil',
    '..',
    'config.json/../x',
    'config.json\u0000',
    '.bashrc',
    'x\ny',
  ])('that lists %j gets no request for it and no file', async (path) => {
    hub.server.repositories[name].commits[commit] = { [path]: small('evil'), ...miniFiles() };
    const to = join(hub.home, 'inner', 'to');
    await hub.pull({ to });
    expect(hub.server.files).toEqual(neededNames);
    expect(readdirSync(to).sort()).toEqual([...neededNames].sort());
    expect(readdirSync(join(hub.home, 'inner'))).toEqual(['to']);
  });

  test.each<[string, unknown, RegExp]>([
    ['no commit', { sha: '../../x' }, /revision\/main\?.*: sha is not what a hub's API answers$/],
    ['another value', [1], /: the answer is not what a hub's API answers$/],
  ])('that answers %s for a model is refused', async (_, value, says) => {
    answer(/^\/api\/models\/kvlens\/mini\/revision/, replyJson(value));
    expect(await hub.refusal()).toMatchObject({ exitCode: 1, message: expect.stringMatching(says) });
  });

  test.each<[string, unknown, RegExp]>([
    ['no list', {}, /: the answer is not what/],
    ['a negative size', [entry('config.json', { size: -1 })], /: 0\.size is not what/],
    ['a digest with a path', [entry('config.json', { oid: '../../x' })], /: 0\.oid is not what/],
    ['an LFS digest with a path', [entry('x', { lfs: { oid: '../x', size: 1 } })], /: 0\.lfs\.oid is not what/],
    ['a file twice', [entry('config.json'), entry('config.json')], /lists "config\.json" twice/],
  ])('that lists %s is refused', async (_, value, says) => {
    answer(/\/tree\//, replyJson(value));
    expect((await hub.refusal()).message).toMatch(says);
    expect(hub.server.files).toEqual([]);
  });

  test('whose JSON file is larger than any is refused before it is asked for', async () => {
    answer(
      /\/tree\//,
      replyJson(
        listing(miniFiles()).map((file) => (file.path === 'tokenizer.json' ? { ...file, size: 2 ** 40 } : file)),
      ),
    );
    expect((await hub.refusal()).message).toMatch(/^tokenizer\.json: 1099511627776 bytes, expected at most 268435456/);
    expect(hub.server.files).toEqual([]);
  });

  test('whose weights are larger than the disk is refused before they are asked for', async () => {
    const lfs = { oid: 'c'.repeat(64), size: 2 ** 52 };
    const files = listing(miniFiles()).map((file) => (file.path === 'model.safetensors' ? { ...file, lfs } : file));
    answer(/\/tree\//, replyJson(files));
    expect(await hub.refusal()).toMatchObject({
      exitCode: 3,
      message: expect.stringMatching(/: \d+ bytes are free, expected 4503599627370496$/),
    });
    expect(hub.server.files).toEqual(neededNames.slice(0, 4));
  });

  test('that answers without end is cut off', async () => {
    answer(/\/tree\//, (response) => {
      const spaces = Buffer.alloc(2 ** 20, ' ');
      const more = () => {
        while (!response.destroyed && response.write(spaces));
      };
      response.on('drain', more);
      more();
    });
    expect((await hub.refusal()).message).toMatch(/: answers more than 16777216 bytes of JSON$/);
  });

  test('that lists pages without end is cut off', async () => {
    answer(/\/tree\//, (response) => {
      response.setHeader('link', `<${hub.server.endpoint}/api/models/${name}/tree/${commit}?again>; rel="next"`);
      replyJson([])(response);
    });
    expect((await hub.refusal()).message).toMatch(/: more than 100 pages of files, expected fewer$/);
  });

  test('whose other host refuses a file is told apart from the hub', async () => {
    hub.server.faults = { 'model.safetensors': { status: 403, failures: 99 } };
    const { message, exitCode } = await hub.refusal();
    expect(message).toMatch(/^http:\/\/127\.0\.0\.1:\d+: answered status 403, expected a file of kvlens\/mini$/);
    expect(message).not.toContain(hub.server.endpoint);
    expect(exitCode).toBe(1);
  });

  test('that redirects without end is given up', async () => {
    answer(/\/resolve\//, (response) => response.writeHead(302, { location: `/${name}/resolve/x` }).end());
    expect((await hub.refusal()).message).toMatch(/: more than 10 redirects, expected an answer$/);
  });

  test.each(['file:///etc/passwd', 'ftp://host/x', 'data:,x', 'http://'])(
    'that redirects to %s is refused',
    async (location) => {
      answer(/\/resolve\//, (response) => response.writeHead(302, { location }).end());
      const { message, exitCode } = await hub.refusal();
      expect(message).toContain(`redirects to ${JSON.stringify(location)}, expected an https address`);
      expect(exitCode).toBe(1);
    },
  );

  test('that is no hub is told', async () => {
    answer(/./, (response) => response.end('<html>'));
    expect((await hub.refusal()).message).toMatch(/: the answer is not JSON, expected what a hub's API answers$/);
  });

  test('whose words could steer a terminal does not', async () => {
    answer(/^\/api/, (response) => response.writeHead(403, { 'x-error-message': 'no\u009b31m entry' }).end());
    expect((await hub.refusal()).message).toBe(
      `${name}: ${hub.server.endpoint} refuses it (status 403, "no\\u{9b}31m entry")`,
    );
  });
});

describe('the environment', () => {
  test('without a network the endpoint is named, soon', async () => {
    const before = performance.now();
    const { message, exitCode, hint } = await hub.refusal({}, { HF_ENDPOINT: 'http://hub.invalid/' });
    expect(message).toMatch(/^http:\/\/hub\.invalid: cannot be reached \((ENOTFOUND|EAI_AGAIN)\)$/);
    expect({ exitCode, hint }).toEqual({ exitCode: 1, hint: 'check the network; HF_ENDPOINT names another hub' });
    expect(performance.now() - before).toBeLessThan(20_000);
  });

  test('HF_HUB_OFFLINE is told instead of tried', async () => {
    expect((await hub.refusal({}, { HF_HUB_OFFLINE: '1' })).message).toMatch(/^HF_HUB_OFFLINE is set/);
    expect(hub.server.seen).toEqual([]);
    expect((await hub.pull({}, { HF_HUB_OFFLINE: '0' })).commit).toBe(commit);
  });

  test('HF_HUB_CACHE goes before HF_HOME, and what is empty counts as not set', async () => {
    const cache = join(hub.home, 'elsewhere');
    const { folder } = await hub.pull({}, { HF_HUB_CACHE: cache, HF_TOKEN: '', HF_HUB_OFFLINE: '' });
    expect(folder.startsWith(join(cache, 'models--kvlens--mini'))).toBe(true);
    expect(existsSync(join(hub.home, 'hub'))).toBe(false);
  });

  test.each(['hub.example', 'ftp://hub.example', 'http://hub.example?x', ''.padEnd(3, '/')])(
    'HF_ENDPOINT=%s is no address',
    async (endpoint) => {
      const { message, exitCode } = await hub.refusal({}, { HF_ENDPOINT: endpoint });
      expect(message).toMatch(/^HF_ENDPOINT: found ".*", expected an address such as /);
      expect(exitCode).toBe(2);
    },
  );

  test('a password in HF_ENDPOINT is refused and not shown', async () => {
    const { message } = await hub.refusal({}, { HF_ENDPOINT: 'https://me:secret@hub.example' });
    expect(message).toMatch(/^HF_ENDPOINT: found another text/);
  });

  test('an endpoint below a path works, as mirrors have it', async () => {
    hub.server.prefix = '/mirror';
    expect((await hub.pull({}, { HF_ENDPOINT: `${hub.server.endpoint}/mirror/` })).commit).toBe(commit);
    expect(hub.server.seen.every(({ host, path }) => host === 'cdn' || path.startsWith('/mirror/'))).toBe(true);
  });
});
