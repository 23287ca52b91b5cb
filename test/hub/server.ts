/**
 * A hub on this machine: the part of Hugging Face's API that a download takes, with a second host for large files as the
 * real one has, and the faults a network has. Written from the API's documentation and huggingface_hub's client, which
 * downloads from it, too.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file of a repository. */
export interface HostedFile {
  content: Buffer;
  /** Kept apart, known by its sha256 and served by the other host. */
  large: boolean;
}

export interface Repository {
  /** Branch or tag → commit. */
  refs: Record<string, string>;
  /** Commit → name → file. */
  commits: Record<string, Record<string, HostedFile>>;
  gated?: boolean;
  /** Seen with this token alone. */
  token?: string;
}

/** What goes wrong with a file's bytes, by its name. Counted faults wear off. */
export interface Fault {
  /** Cut the connection after this many bytes of an answer. */
  dropAfter?: number;
  /** How many answers are cut; every one unless given. */
  drops?: number;
  /** Go silent instead of cutting. */
  silent?: boolean;
  /** Answer with the whole file whatever is asked for. */
  ignoresRange?: boolean;
  /** Answer with a part that begins here, whatever is asked for. */
  startsAt?: number;
  /** Flip a bit of this byte. */
  corrupt?: number;
  /** Bytes more (or fewer) than listed, told as the file's length. */
  lengthened?: number;
  /** As `lengthened`, but the length is not told. */
  lengthenedSilently?: number;
  /** Answer with this status for the first `failures` requests. */
  status?: number;
  failures?: number;
  /** Pause between pieces. */
  slow?: boolean;
  /** Size of such a piece. */
  pieceBytes?: number;
}

export interface Seen {
  host: 'hub' | 'cdn';
  path: string;
  range: string | null;
  authorization: string | null;
}

/** Name of the repository that tests ask for. */
export const name = 'kvlens/mini';

export class HubServer {
  /** What was asked for. */
  seen: Seen[] = [];
  repositories: Record<string, Repository> = {};
  faults: Record<string, Fault> = {};
  /** Path of the API and the files on the hub, as a mirror may have it. */
  prefix = '';
  /** Entries of a page of the listing. */
  pageSize = 1000;
  /** Answers instead of the API's: tests of hostile hubs. */
  override: ((path: string, response: ServerResponse) => boolean) | null = null;
  readonly hub: Server;
  readonly cdn: Server;

  private constructor() {
    this.hub = createServer((request, response) => this.answer('hub', request, response));
    this.cdn = createServer((request, response) => this.answer('cdn', request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const part of [server.hub, server.cdn]) {
      await new Promise<void>((resolve) => part.listen(0, '127.0.0.1', resolve));
    }
    return server;
  }

  async stop(): Promise<void> {
    for (const part of [this.hub, this.cdn]) {
      part.closeAllConnections();
      await new Promise((resolve) => part.close(resolve));
    }
  }

  get endpoint(): string {
    return address(this.hub);
  }

  /** Paths of files that were asked for, without the requests that list them. */
  get files(): string[] {
    return this.seen
      .filter(({ host, path }) => host === 'hub' && path.includes('/resolve/'))
      .map(({ path }) => path.split('/').at(-1) ?? '');
  }

  private answer(host: Seen['host'], request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '/';
    const { range = null, authorization = null } = request.headers;
    this.seen.push({ host, path, range, authorization });
    // A connection kept for the next test may die in between, which that test did not ask for.
    response.shouldKeepAlive = false;
    if (this.override?.(path, response)) return;
    const url = new URL(path, this.endpoint);
    const below = host === 'hub' ? url.pathname.slice(this.prefix.length) : url.pathname;
    const parts = below.split('/').slice(1).map(decodeURIComponent);
    // What the other host calls a content is its own affair; the real one names Xet's hash, as long as a sha256.
    if (host === 'cdn') response.setHeader('etag', `"${'d'.repeat(64)}"`);
    if (host === 'cdn') this.serve(parts.at(-1) ?? '', this.byDigest(parts[0]), range, response);
    else if (parts[0] === 'api') this.api(parts.slice(2), url, authorization, response);
    else this.page(parts, request, response);
  }

  /** `models/ORG/NAME/revision/R` and `models/ORG/NAME/tree/R` */
  private api(
    [organisation, model, what, revision = 'main']: string[],
    url: URL,
    authorization: string | null,
    response: ServerResponse,
  ): void {
    const id = `${organisation}/${model}`;
    const found = this.find(id, revision, authorization, response);
    if (!found) return;
    const { repository, files, commit } = found;
    if (what === 'tree') {
      this.tree(files, url, response);
      return;
    }
    json(response, {
      ...{ _id: '0', id, sha: commit, private: false, downloads: 0, likes: 0 },
      ...{ gated: repository.gated ? 'manual' : false, lastModified: '2026-01-01T00:00:00.000Z' },
      siblings: Object.keys(files).map((rfilename) => ({ rfilename })),
    });
  }

  /** `ORG/NAME/resolve/R/FILE` */
  private page(parts: string[], request: IncomingMessage, response: ServerResponse): void {
    const [organisation, model, , revision, ...path] = parts;
    const authorization = request.headers.authorization ?? null;
    const found = this.find(`${organisation}/${model}`, revision, authorization, response);
    if (found) this.resolve(found, path.join('/'), request, response);
  }

  /** The files of a revision, or null after a refusal. */
  private find(id: string, revision: string, authorization: string | null, response: ServerResponse): Found | null {
    const repository = this.repositories[id];
    const token = authorization?.replace('Bearer ', '');
    if (!repository || (repository.token !== undefined && repository.token !== token)) {
      refuse(response, token === undefined ? 401 : 404, 'RepoNotFound', 'Repository not found');
      return null;
    }
    const commit = repository.commits[revision] ? revision : repository.refs[revision];
    if (commit !== undefined) return { repository, commit, files: repository.commits[commit] };
    refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    return null;
  }

  private tree(files: Record<string, HostedFile>, url: URL, response: ServerResponse): void {
    const entries = listing(files);
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const end = start + this.pageSize;
    if (end < entries.length) {
      const next = new URL(url);
      next.searchParams.set('cursor', String(end));
      response.setHeader('link', `<${next.href}>; rel="next"`);
    }
    json(response, entries.slice(start, end));
  }

  private resolve(
    { repository, files, commit }: Found,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const file = files[path];
    if (repository.gated || !file) {
      const [status, code] = repository.gated ? ([403, 'GatedRepo'] as const) : ([404, 'EntryNotFound'] as const);
      refuse(response, status, code, `Cannot access ${path}`);
      return;
    }
    response.setHeader('x-repo-commit', commit);
    if (!file.large) {
      response.setHeader('etag', `"${digest(file)}"`);
      this.serve(path, file.content, request.headers.range ?? null, response, request.method === 'HEAD');
      return;
    }
    response.setHeader('x-linked-etag', `"${digest(file)}"`);
    response.setHeader('x-linked-size', String(file.content.length));
    response.writeHead(302, {
      location: `${address(this.cdn)}/${digest(file)}/${encodeURIComponent(path)}?signature=abc`,
    });
    response.end();
  }

  private byDigest(wanted: string): Buffer {
    for (const { commits } of Object.values(this.repositories)) {
      for (const files of Object.values(commits)) {
        for (const file of Object.values(files)) if (digest(file) === wanted) return file.content;
      }
    }
    throw new Error(`no file ${wanted}`);
  }

  private serve(path: string, content: Buffer, range: string | null, response: ServerResponse, isHead = false): void {
    const fault = this.faults[path] ?? {};
    const { status, failures = 1, lengthened = 0, lengthenedSilently } = fault;
    if (status !== undefined && failures > 0) {
      fault.failures = failures - 1;
      response.writeHead(status).end();
      return;
    }
    const length = content.length + lengthened;
    const isPart = fault.startsAt !== undefined || (range !== null && !fault.ignoresRange);
    const start = isPart ? (fault.startsAt ?? Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1])) : 0;
    if (start >= length) {
      response.writeHead(416, { 'content-range': `bytes */${length}` }).end();
      return;
    }
    if (lengthenedSilently === undefined) response.setHeader('content-length', length - start);
    if (isPart) response.setHeader('content-range', `bytes ${start}-${length - 1}/${length}`);
    response.writeHead(isPart ? 206 : 200, { 'accept-ranges': 'bytes' });
    if (isHead) response.end();
    else sendWith(fault, response, content, start, length + (lengthenedSilently ?? 0));
  }
}

interface Found {
  repository: Repository;
  commit: string;
  files: Record<string, HostedFile>;
}

/** Bytes from `start` to `end`, with what goes wrong on the way. */
function sendWith(fault: Fault, response: ServerResponse, content: Buffer, start: number, end: number): void {
  const served = Buffer.alloc(end);
  content.copy(served);
  if (fault.corrupt !== undefined) served[fault.corrupt] ^= 1;
  const { dropAfter, drops = Number.POSITIVE_INFINITY } = fault;
  if (dropAfter !== undefined && drops > 0) {
    fault.drops = drops - 1;
    response.write(served.subarray(start, start + dropAfter), () => {
      if (!fault.silent) setTimeout(() => response.destroy(), 50);
    });
  } else if (fault.slow) trickle(response, served.subarray(start), fault.pieceBytes ?? 64 * 1024);
  else response.end(served.subarray(start));
}

/** As `GET /api/models/…/tree` lists files. */
export function listing(files: Record<string, HostedFile>): Entry[] {
  return Object.entries(files).map(([path, file]) => entry(path, file));
}

interface Entry {
  type: string;
  path: string;
  size: number;
  oid: string;
  lfs?: { oid: string; size: number; pointerSize: number };
  xetHash?: string;
}

function entry(path: string, file: HostedFile): Entry {
  const size = file.content.length;
  if (!file.large) return { type: 'file', path, size, oid: digest(file) };
  return {
    type: 'file',
    path,
    size,
    oid: 'a'.repeat(40),
    lfs: { oid: digest(file), size, pointerSize: 134 },
    xetHash: 'b'.repeat(64),
  };
}

/** `sha256sum`, `git hash-object`. */
export function digest({ content, large }: HostedFile): string {
  if (large) return createHash('sha256').update(content).digest('hex');
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

function trickle(response: ServerResponse, bytes: Buffer, piece: number): void {
  let at = 0;
  const timer = setInterval(() => {
    response.write(bytes.subarray(at, at + piece));
    at += piece;
    if (at < bytes.length) return;
    clearInterval(timer);
    response.end();
  }, 25);
  response.on('close', () => clearInterval(timer));
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'x-error-code': code, 'x-error-message': message, 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: message }));
}

function json(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}

function address(server: Server): string {
  const found = server.address();
  if (found === null || typeof found === 'string') throw new Error('the server does not listen');
  const { port }: AddressInfo = found;
  return `http://127.0.0.1:${port}`;
}
