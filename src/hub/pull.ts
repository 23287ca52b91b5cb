/** Get a checkpoint from a hub: only the files kvlens reads, each verified before it gets its name, resumable. */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readConfig } from '../checkpoint/config.ts';
import { openCheckpoint } from '../checkpoint/open.ts';
import { indexName, readWeightMap, shardNames } from '../checkpoint/shards.ts';
import { InputError } from '../errors.ts';
import { HubClient } from './client.ts';
import { ContentHash, hashFile, type RemoteFile } from './content.ts';
import type { Destination, Matches } from './destination.ts';
import { download, type FileProgress } from './download.ts';
import { type HubEnvironment, readEnvironment } from './environment.ts';
import { hubCache } from './hub-cache.ts';
import { type NeededFiles, neededFiles, neededShards } from './needed-files.ts';
import { plainFolder } from './plain-folder.ts';
import { checkRepositoryName, checkRevision, type Listing, listTop, resolveCommit } from './repository.ts';
import { defaultPatience, type Patience } from './transient.ts';

/** What to pull, and into which folder. */
export interface PullOptions {
  /** `ORG/NAME` */
  repository: string;
  /** Branch, tag or commit; `main` unless given. */
  revision?: string;
  /** Folder for plain files; without it the cache that Hugging Face's tools share. */
  to?: string;
  /** Read files of the shared cache that are there already and compare their digests, not only their sizes. */
  verify?: boolean;
  /** HF_TOKEN, HF_HOME, HF_ENDPOINT …; the process's own unless given. */
  variables?: NodeJS.ProcessEnv;
  patience?: Patience;
  /** Aborting keeps what has arrived. */
  signal?: AbortSignal;
  onProgress?: (progress: PullProgress) => void;
  /** Called as soon as config.json is there, before the weights, if kvlens cannot use it. */
  onUnsupported?: (reason: string) => void;
}

/** How far one file is; `total` is its size in bytes. */
export interface PullProgress extends FileProgress {
  name: string;
  total: number;
}

/** A pulled checkpoint. */
export interface Pulled {
  /** MODEL for other commands. */
  folder: string;
  repository: string;
  revision: string;
  commit: string;
  files: PulledFile[];
  /** Why kvlens cannot use the checkpoint, in one line, or null. */
  unsupported: string | null;
}

export interface PulledFile {
  name: string;
  bytes: number;
  /** Bytes that came over the network; 0: it was there. */
  downloaded: number;
}

/** JSON files are read whole; larger ones are none. */
const largestSmallFile = 256 * 2 ** 20;

/**
 * Pull a checkpoint.
 * @throws UsageError for a malformed name, revision or variable; InputError if the repository, the revision or the files
 *   are not there, gated, or the folder cannot take them; RunError if the network, the hub or a digest fails;
 *   InterruptedError
 */
export async function pull(options: PullOptions): Promise<Pulled> {
  const { repository, revision = 'main', variables = process.env, patience = defaultPatience, signal } = options;
  checkRepositoryName(repository);
  checkRevision(revision);
  const environment = readEnvironment(variables);
  const client = new HubClient({ environment, repository, revision, patience, signal });
  const commit = await resolveCommit(client, repository, revision);
  const listing = await listTop(client, repository, commit);
  const needed = neededFiles(repository, listing.files);
  const destination = openDestination(options, revision, commit, listing, environment);
  const fetcher = new Fetcher(client, destination, `${environment.endpoint}/${repository}/resolve/${commit}`, options);

  const files = await fetcher.all([...needed.small, ...(needed.index ? [needed.index] : [])].map(checkSmall));
  const early = unsupportedConfig(destination.folder, needed);
  if (early !== null) options.onUnsupported?.(early);
  files.push(...(await fetcher.all(weightFiles(repository, needed, listing, destination.folder))));
  destination.finish();
  const unsupported = early ?? (await unsupportedCheckpoint(destination.folder));
  return { folder: destination.folder, repository, revision, commit, files, unsupported };
}

function openDestination(
  { repository, to, verify = false, onProgress, signal }: PullOptions,
  revision: string,
  commit: string,
  { names }: Listing,
  { cache }: HubEnvironment,
): Destination {
  const matches: Matches = async (path, file) => {
    const hash = new ContentHash(file);
    const onBytes = (done: number) =>
      onProgress?.({ name: file.name, total: file.bytes, stage: 'checking', done, from: 0 });
    await hashFile(path, hash, onBytes, signal);
    return hash.digest() === file.digest;
  };
  return to === undefined
    ? hubCache({ cache, repository, revision, commit, verify, matches })
    : plainFolder({ dir: to, repository, names, matches });
}

/** Brings files to their destination, one after the other. */
class Fetcher {
  private readonly client: HubClient;
  private readonly destination: Destination;
  private readonly base: string;
  private readonly onProgress: PullOptions['onProgress'];

  constructor(client: HubClient, destination: Destination, base: string, { onProgress }: PullOptions) {
    this.client = client;
    this.destination = destination;
    this.base = base;
    this.onProgress = onProgress;
  }

  /** What is in the way, and a disk that is too small, are told before the first byte is asked for. */
  async all(files: readonly RemoteFile[]): Promise<PulledFile[]> {
    const present = new Set<RemoteFile>();
    for (const file of files) if (await this.destination.has(file)) present.add(file);
    const missing = files.filter((file) => !present.has(file));
    checkSpace(this.destination, missing);
    const pulled = new Map<RemoteFile, number>();
    for (const file of missing) pulled.set(file, await this.one(file));
    return files.map((file) => ({ name: file.name, bytes: file.bytes, downloaded: pulled.get(file) ?? 0 }));
  }

  private async one(file: RemoteFile): Promise<number> {
    const { name, bytes: total } = file;
    const url = `${this.base}/${encodeURIComponent(name)}`;
    const downloaded = await download(this.client, url, file, this.destination.partial(file), (progress) =>
      this.onProgress?.({ name, total, ...progress }),
    );
    this.destination.publish(file);
    return downloaded;
  }
}

function checkSmall(file: RemoteFile): RemoteFile {
  if (file.bytes <= largestSmallFile) return file;
  throw new InputError(`${file.name}: ${file.bytes} bytes, expected at most ${largestSmallFile} for a JSON file`);
}

function checkSpace(destination: Destination, missing: readonly RemoteFile[]): void {
  let needed = 0;
  for (const file of missing) {
    needed += file.bytes - (statSync(destination.partial(file), { throwIfNoEntry: false })?.size ?? 0);
  }
  let folder = resolve(destination.folder);
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, blocks, bsize } = statfsSync(folder);
  // Some network file systems do not say.
  if (blocks === 0 || needed <= bavail * bsize) return;
  throw new InputError(
    `${folder}: ${bavail * bsize} bytes are free, expected ${needed}`,
    'free some space, or choose another disk with --to or HF_HOME',
  );
}

function weightFiles(repository: string, needed: NeededFiles, { files }: Listing, folder: string): RemoteFile[] {
  if (needed.weights) return [needed.weights];
  return neededShards(repository, shardNames(readWeightMap(join(folder, indexName))), files);
}

function unsupportedConfig(folder: string, { small }: NeededFiles): string | null {
  try {
    readConfig(
      folder,
      small.some(({ name }) => name === 'generation_config.json'),
    );
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

async function unsupportedCheckpoint(folder: string): Promise<string | null> {
  try {
    await openCheckpoint(folder);
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof InputError) return error.message;
  throw error;
}
