/** A run's files for its page, on this machine alone: what the page asks for by range, and nothing else of the disk. */
import { createReadStream, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { UsageError } from '../../errors.ts';
import type { RunTable, RunTables } from '../data/run-tables.ts';

const tables: readonly RunTable[] = [
  ...([
    'conditions',
    'prompts',
    'vocab',
    'steps',
    'layers',
    'patches',
    'answers',
    'candidates',
    'temperatures',
    'placebo',
  ] as const),
  ...(['activations/attn.rot_k', 'activations/attn.v'] as const),
];
const texts = ['manifest.json', 'controls.json', 'outcomes.json', 'verdicts.json'];

export interface ServedRun {
  /** `http://127.0.0.1:…/` */
  url: string;
  close(): Promise<void>;
}

/**
 * Serve a page and the run it reads. Only the loopback interface is listened on, and only requests that name it are answered, so
 * that no other page can read the run through a name of its own.
 * @throws UsageError if the port is taken
 */
export async function serveRun(run: RunTables, folder: string, page: string, port = 0): Promise<ServedRun> {
  const files = new Map(
    [...tables.filter((table) => run.has(table)).map((table) => `${table}.arrow`), ...texts].flatMap((path) => {
      const status = statSync(join(folder, path), { throwIfNoEntry: false });
      return status?.isFile() ? [[path, status.size] as const] : [];
    }),
  );
  const server = createServer((request, response) => answer(request, response, { run, folder, page, files, server }));
  await listen(server, port);
  return {
    url: `http://127.0.0.1:${portOf(server)}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE' || error.code === 'EACCES'
          ? new UsageError(`--port: found ${port}, expected a free port`, '0 takes any free one')
          : error,
      ),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

interface Served {
  run: RunTables;
  folder: string;
  page: string;
  files: ReadonlyMap<string, number>;
  server: Server;
}

function answer(request: IncomingMessage, response: ServerResponse, served: Served): void {
  const { page, files, folder, run, server } = served;
  const refuse = (status: number) => {
    response.writeHead(status, { 'content-type': 'text/plain' });
    response.end();
  };
  const names = ['127.0.0.1', 'localhost'].map((name) => `${name}:${portOf(server)}`);
  if (!names.includes(request.headers.host ?? '')) {
    refuse(403);
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    refuse(405);
    return;
  }
  const path = (request.url ?? '/').split('?')[0];
  const send = (type: string, body: string) => {
    const bytes = Buffer.from(body);
    const headers = { 'content-type': type, 'content-length': bytes.length, 'cache-control': 'no-store' };
    response.writeHead(200, { ...headers, 'x-content-type-options': 'nosniff' });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  };
  if (path === '/') {
    send('text/html; charset=utf-8', page);
    return;
  }
  if (path === '/files.json') {
    const list = [...files].map(([each, size]) => ({ path: each, size }));
    send('application/json', JSON.stringify({ name: run.name, files: list }));
    return;
  }
  const name = path.startsWith('/run/') ? path.slice('/run/'.length) : '';
  const size = files.get(name);
  // Only names of the list are files: no path leaves the run's folder.
  if (size === undefined) refuse(404);
  else sendFile(request, response, join(folder, name), size);
}

function sendFile(request: IncomingMessage, response: ServerResponse, path: string, size: number): void {
  const type = path.endsWith('.json') ? 'application/json' : 'application/vnd.apache.arrow.file';
  const headers = { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  const [first, last] = range ? [Number(range[1]), Math.min(size - 1, Number(range[2]))] : [0, size - 1];
  if (range && first > last) {
    response.writeHead(416, { 'content-range': `bytes */${size}` });
    response.end();
    return;
  }
  const length = { 'content-length': Math.max(0, last - first + 1) };
  response.writeHead(
    range ? 206 : 200,
    range ? { ...headers, ...length, 'content-range': `bytes ${first}-${last}/${size}` } : { ...headers, ...length },
  );
  if (request.method === 'HEAD' || size === 0) {
    response.end();
    return;
  }
  const stream = createReadStream(path, { start: first, end: last });
  stream.on('error', () => response.destroy());
  stream.pipe(response);
}
