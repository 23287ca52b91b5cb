/** A repository on a hub: its name, the commit a revision stands for, and the files it lists. */
import { z } from 'zod';
import { InputError, UsageError } from '../errors.ts';
import type { HubClient } from './client.ts';
import type { RemoteFile } from './content.ts';

/** What Hugging Face allows: two parts of letters, digits, `-`, `_` and `.`, at most 96 characters. */
const namePattern = /^(?=.{3,96}$)(?![-.])[\w.-]*[\w](?<!\.git)\/(?![-.])[\w.-]*[\w](?<!\.git)$/;

/** @throws UsageError if it is no `ORG/NAME`. */
export function checkRepositoryName(name: string): void {
  if (namePattern.test(name) && !name.includes('--') && !name.includes('..')) return;
  const url = /^https?:\/\/[^/]+\/([^/]+\/[^/?#]+)/.exec(name);
  throw new UsageError(
    `ORG/NAME: found ${JSON.stringify(name.slice(0, 120))}, expected a repository such as Qwen/Qwen3-0.6B`,
    url ? `that would be kvlens pull ${url[1]}` : undefined,
  );
}

/** A revision becomes a path below refs/ and a part of addresses. @throws UsageError */
export function checkRevision(revision: string): void {
  const parts = revision.split('/');
  if (/^[\w.+@/-]{1,200}$/.test(revision) && parts.every((part) => part !== '' && part !== '.' && part !== '..'))
    return;
  throw new UsageError(
    `--revision: found ${JSON.stringify(revision.slice(0, 120))}, expected a branch, a tag or a commit`,
  );
}

const commitPattern = /^[0-9a-f]{40}$/;
const modelSchema = z.looseObject({ sha: z.string().regex(commitPattern) });
const sizes = z.int().nonnegative();
const entrySchema = z.looseObject({
  type: z.string(),
  path: z.string(),
  size: sizes,
  oid: z.string().regex(commitPattern),
  lfs: z.looseObject({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: sizes }).optional(),
});
const treeSchema = z.array(entrySchema);

/** The hub's library takes a while to load and no other command needs it. */
const library = () => import('@huggingface/hub');

/** The commit a branch or tag points to; a commit stands for itself once the hub knows it. */
export async function resolveCommit(client: HubClient, repository: string, revision: string): Promise<string> {
  const { modelInfo } = await library();
  const { sha } = await modelInfo({
    name: repository,
    revision,
    additionalFields: ['sha'],
    hubUrl: client.environment.endpoint,
    fetch: client.jsonFetch(modelSchema),
  });
  return sha;
}

/** Files at the top of a repository, by name; entries whose name is no plain file name are none of ours. */
export interface Listing {
  files: ReadonlyMap<string, RemoteFile>;
  /** Names of everything at the top, folders too. */
  names: ReadonlySet<string>;
}

/** List a commit. @throws InputError for a name that occurs twice */
export async function listTop(client: HubClient, repository: string, commit: string): Promise<Listing> {
  const { listFiles } = await library();
  const files = new Map<string, RemoteFile>();
  const names = new Set<string>();
  const entries = listFiles({
    repo: repository,
    revision: commit,
    hubUrl: client.environment.endpoint,
    fetch: client.jsonFetch(treeSchema),
  });
  for await (const { type, path, size, oid = '', lfs } of entries) {
    if (names.has(path)) throw new InputError(`${repository}: lists ${JSON.stringify(path)} twice, expected it once`);
    names.add(path);
    if (type !== 'file' || !/^[\w][\w.-]{0,199}$/.test(path)) continue;
    files.set(path, {
      name: path,
      bytes: lfs?.size ?? size,
      algorithm: lfs ? 'sha256' : 'git sha1',
      digest: lfs?.oid ?? oid,
    });
  }
  return { files, names };
}

/** Whether a revision is a commit already, to which no ref points. */
export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}
