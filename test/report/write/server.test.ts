/** What the server of a run gives, and to whom: ranges of the run's files, and nothing else of the disk. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { openRunFolder } from '../../../src/report/data/run-folder.ts';
import { type ServedRun, serveRun } from '../../../src/report/write/server.ts';
import { temporaryFolder } from '../../store/folder.ts';

const outer = temporaryFolder();
const folder = join(outer, 'my run');
const page = '<!doctype html><p>ä – page</p>';
/** Whatever bytes: the server does not look into them. */
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256);
let served: ServedRun;

beforeAll(async () => {
  mkdirSync(join(folder, 'activations'), { recursive: true });
  for (const name of ['steps.arrow', 'layers.arrow', join('activations', 'attn.v.arrow'), 'other.arrow'])
    writeFileSync(join(folder, name), bytes);
  writeFileSync(join(folder, 'vocab.arrow'), '');
  for (const name of ['manifest.json', 'controls.json']) writeFileSync(join(folder, name), JSON.stringify({ name }));
  for (const path of [join(outer, 'secret.json'), join(outer, 'manifest.json'), join(folder, 'notes.txt')])
    writeFileSync(path, 'secret');
  mkdirSync(join(folder, 'outcomes.json'));
  served = await serveRun(openRunFolder(folder), folder, page);
});
afterAll(() => served.close());

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** The path goes out as it is given: nothing tidies it up. */
function ask(
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const { port } = new URL(served.url);
    const sent = request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('the page is at the root, whatever is asked behind a question mark', async () => {
  for (const path of ['/', '/?x=/run/steps.arrow']) {
    const { status, headers, body } = await ask(path);
    expect(status).toBe(200);
    expect(body.toString('utf8')).toBe(page);
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'x-content-type-options': 'nosniff' });
    expect(headers['content-length']).toBe(String(Buffer.byteLength(page)));
  }
});

test('the list has the run’s tables and JSON files with their sizes, and nothing else that lies there', async () => {
  const { body, headers } = await ask('/files.json');
  expect(headers['content-type']).toBe('application/json');
  const { name, files }: { name: string; files: { path: string; size: number }[] } = JSON.parse(body.toString());
  expect(name).toBe('my run');
  expect(files.sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
    { path: 'activations/attn.v.arrow', size: 1000 },
    { path: 'controls.json', size: 24 },
    { path: 'layers.arrow', size: 1000 },
    { path: 'manifest.json', size: 24 },
    { path: 'steps.arrow', size: 1000 },
    { path: 'vocab.arrow', size: 0 },
  ]);
});

describe('ranges', () => {
  test.each<[string, number, number]>([
    ['bytes=0-0', 0, 0],
    ['bytes=0-999', 0, 999],
    ['bytes=999-999', 999, 999],
    ['bytes=990-2000', 990, 999],
    ['bytes=500-99999999999999999999', 500, 999],
  ])('%s', async (range, first, last) => {
    const { status, headers, body } = await ask('/run/steps.arrow', { headers: { range } });
    expect(status).toBe(206);
    expect(headers['content-range']).toBe(`bytes ${first}-${last}/1000`);
    expect(headers['content-length']).toBe(String(last - first + 1));
    expect(body).toEqual(Buffer.from(bytes.slice(first, last + 1)));
  });

  test.each(['bytes=1000-1000', 'bytes=1000-2000', 'bytes=5-4', 'bytes=99999999999999999999-99999999999999999999'])(
    '%s cannot be had',
    async (range) => {
      const { status, headers, body } = await ask('/run/steps.arrow', { headers: { range } });
      expect({ status, length: body.length }).toEqual({ status: 416, length: 0 });
      expect(headers['content-range']).toBe('bytes */1000');
    },
  );

  test.each(['bytes=5-', 'bytes=-5', 'bytes=0-1,4-5', 'items=0-1', 'bytes=a-b', ''])(
    '%j is none that is known: the whole file comes',
    async (range) => {
      const { status, body } = await ask('/run/steps.arrow', { headers: { range } });
      expect(status).toBe(200);
      expect(body).toEqual(Buffer.from(bytes));
    },
  );

  test('of an empty file there is none', async () => {
    expect(await ask('/run/vocab.arrow')).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect((await ask('/run/vocab.arrow', { headers: { range: 'bytes=0-0' } })).status).toBe(416);
  });
});

test('HEAD says what GET would, without a body', async () => {
  for (const [path, headers] of [
    ['/', {}],
    ['/files.json', {}],
    ['/run/steps.arrow', {}],
    ['/run/steps.arrow', { range: 'bytes=2-5' }],
  ] as const) {
    const [head, get] = [await ask(path, { method: 'HEAD', headers }), await ask(path, { headers })];
    expect(head.status).toBe(get.status);
    expect(head.body).toHaveLength(0);
    expect(head.headers['content-length']).toBe(String(get.body.length));
    expect(head.headers['content-type']).toBe(get.headers['content-type']);
  }
});

test('files of folders within the run are found', async () => {
  expect((await ask('/run/activations/attn.v.arrow')).body).toEqual(Buffer.from(bytes));
});

test.each([
  '/run/../manifest.json',
  '/run/../secret.json',
  '/run/..%2fsecret.json',
  '/run/%2e%2e/secret.json',
  '/run/%2e%2e%2fmanifest.json',
  '/run/..\\secret.json',
  '/run/./manifest.json',
  '/run//manifest.json',
  '/run/activations/../manifest.json',
  '/run/%6danifest.json',
  '/run/manifest.json%00',
  '/run/notes.txt',
  '/run/other.arrow',
  '/run/outcomes.json',
  '/run/constructor',
  '/run/',
  '/run',
  '/manifest.json',
  '/../my run/manifest.json'.replace(' ', '%20'),
  '/etc/passwd',
  '//127.0.0.1/run/manifest.json',
  '/favicon.ico',
])('%s is not there', async (path) => {
  const { status, body } = await ask(path);
  expect({ status, body: body.toString() }).toEqual({ status: 404, body: '' });
});

describe('only who names this machine is answered', () => {
  test.each(['evil.example', 'evil.example:80', '127.0.0.1', 'localhost', '127.0.0.1.evil.example', '[::1]'])(
    'not %s',
    async (host) => {
      for (const path of ['/', '/files.json', '/run/manifest.json'])
        expect(await ask(path, { headers: { host } })).toMatchObject({ status: 403, body: Buffer.alloc(0) });
    },
  );

  test('not the right name with another port', async () => {
    expect((await ask('/', { headers: { host: '127.0.0.1:1' } })).status).toBe(403);
  });

  test('but localhost with this port', async () => {
    expect((await ask('/', { headers: { host: `localhost:${new URL(served.url).port}` } })).status).toBe(200);
  });

  test('and no other page may read it', async () => {
    const { headers } = await ask('/run/manifest.json', { headers: { origin: 'https://evil.example' } });
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s is refused', async (method) => {
  expect((await ask('/', { method })).status).toBe(405);
  expect((await ask('/run/manifest.json', { method })).status).toBe(405);
  expect(readFileSync(join(folder, 'manifest.json'), 'utf8')).toContain('manifest');
});

test('the port is on the loopback interface alone', () => {
  expect(served.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
});

test('a port that is taken is an error of the command line, in one line', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const address = other.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  try {
    const error = await serveRun(openRunFolder(folder), folder, page, port).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UsageError);
    expect(error).toMatchObject({ exitCode: 2, message: `--port: found ${port}, expected a free port` });
  } finally {
    other.close();
  }
});

test('a table that is a link is served as what it leads to, and one that leads nowhere is not listed', async () => {
  const linked = join(temporaryFolder(), 'linked');
  mkdirSync(linked);
  writeFileSync(join(linked, 'manifest.json'), '{}');
  symlinkSync(join(folder, 'steps.arrow'), join(linked, 'steps.arrow'));
  symlinkSync(join(folder, 'gone'), join(linked, 'controls.json'));
  const own = await serveRun(openRunFolder(linked), linked, page);
  try {
    const found: unknown = await (await fetch(`${own.url}files.json`)).json();
    expect(found).toEqual({
      name: 'linked',
      files: [
        { path: 'steps.arrow', size: 1000 },
        { path: 'manifest.json', size: 2 },
      ],
    });
  } finally {
    await own.close();
  }
});

test('it ends at once, though connections are open', async () => {
  const own = await serveRun(openRunFolder(folder), folder, page);
  const port = Number(new URL(own.url).port);
  const socket = connect(port, '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  // Half a request: the server waits for the rest.
  socket.write('GET / HTTP/1.1\r\n');
  const ended = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  const started = performance.now();
  await own.close();
  await ended;
  expect(performance.now() - started).toBeLessThan(2000);
  await expect(fetch(own.url)).rejects.toThrow();
});
