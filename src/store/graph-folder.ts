/** Graph folders on disk: written whole with graph.json last, and opened again only if they still say what was exported. */
import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, realpathSync, renameSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { z } from 'zod';
import { expandKeyValueHeads, isExpanded } from '../checkpoint/expand-kv.ts';
import { readJsonFile } from '../checkpoint/json-file.ts';
import { checkpointName, openCheckpoint } from '../checkpoint/open.ts';
import type { Checkpoint } from '../checkpoint/types.ts';
import { InputError } from '../errors.ts';
import { type ExportOptions, exportGraphs, type GraphManifest, graphManifestSchema } from '../graph/export.ts';
import { selectHooks } from '../graph/hooks.ts';
import { type KernelPreset, kernelNames, namedKernels, parseKernels } from '../graph/kernels.ts';
import type { RoundingPolicy } from '../graph/rounding.ts';
import { guard, PartialFile, prepareFolder } from './files.ts';

/** What a graph folder holds. */
export interface GraphFolder {
  checkpoint: Checkpoint;
  policy: RoundingPolicy;
  kernels: KernelPreset;
}

const manifestName = 'graph.json';
const forwardSlashes = (path: string) => path.split(sep).join('/') || '.';

/**
 * Export into a new or empty folder; returns its files. A single-file export has the weights beside it, hard-linked
 * where the file system allows it, so that any runtime loads it.
 * @throws InputError if the folder is not empty or cannot be written.
 */
export async function writeGraphFolder(out: string, options: ExportOptions): Promise<string[]> {
  const files = await graphFolderFiles(out, options);
  prepareFolder(out);
  const weights = options.singleFile ? placeWeights(options.checkpoint, out) : [];
  for (const [name, bytes] of files) publish(join(out, name), bytes);
  return [...files.map(([name]) => name), ...weights];
}

/** Names and bytes of what an export to `out` writes, graph.json last. */
export async function graphFolderFiles(out: string, options: ExportOptions): Promise<[string, Uint8Array][]> {
  const { checkpoint, policy, kernels, hooks, singleFile } = options;
  const graphs = exportGraphs(options);
  const from = resolve(out);
  const manifest: z.input<typeof graphManifestSchema> = {
    schemaVersion: 1,
    model: checkpointName(checkpoint.dir),
    architecture: checkpoint.config.modelType,
    layout: singleFile ? 'single-file' : 'per-layer',
    policy,
    kernels: storedKernels(kernels),
    hooks,
    checkpoint: {
      path: forwardSlashes(relative(from, resolve(checkpoint.dir))),
      sha256: await checkpoint.sha256(),
    },
    weights: singleFile ? '.' : forwardSlashes(relative(from, checkpoint.weightsRoot)),
    ...(isExpanded(checkpoint.config) ? { expandedKv: true } : {}),
    graphs: graphs.map(({ entry }) => entry),
  };
  const json = new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
  return [...graphs.map(({ file, bytes }): [string, Uint8Array] => [file, bytes]), [manifestName, json]];
}

/**
 * Open a graph folder: the graphs are built anew from graph.json and must equal the files byte for byte, and the
 * checkpoint's weights must have the recorded sha256. What runs is then what the folder holds.
 * @throws InputError naming the file that differs.
 */
export async function openGraphFolder(dir: string): Promise<GraphFolder> {
  const file = join(dir, manifestName);
  const parsed = graphManifestSchema.safeParse(readJsonFile(file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new InputError(`${file}: ${issue.path.join('.') || 'graph.json'}: ${issue.message.replaceAll('\n', ' ')}`);
  }
  const manifest = parsed.data;
  const { policy, hooks, layout } = manifest;
  const kernels = openedKernels(manifest.kernels, file);
  const { path, sha256 } = manifest.checkpoint;
  if (isAbsolute(path) || path.includes('\\')) {
    throw new InputError(`${file}: checkpoint.path: found ${JSON.stringify(path)}, expected a relative path`);
  }
  const stored = await openCheckpoint(join(dir, path));
  const checkpoint = manifest.expandedKv ? expandKeyValueHeads(stored) : stored;
  const found = await checkpoint.sha256();
  if (found !== sha256) {
    throw new InputError(
      `${checkpoint.dir}: the weights have sha256 ${found.slice(0, 12)}…, ${file} expects ${sha256.slice(0, 12)}…`,
      'export the graphs again from this checkpoint',
    );
  }
  checkClaims(dir, manifest, stored);
  checkHooks(file, hooks, checkpoint);
  const graphs = exportGraphs({ checkpoint, policy, kernels, hooks, singleFile: layout === 'single-file' });
  const entries = graphs.map(({ entry }) => entry);
  if (JSON.stringify(manifest.graphs) !== JSON.stringify(entries)) {
    throw new InputError(
      `${file}: graphs: its entries are not those of the graphs it describes`,
      'export the graphs again',
    );
  }
  for (const { file: name, bytes } of graphs) checkGraph(join(dir, name), bytes);
  return { checkpoint, policy, kernels };
}

/** A preset that has a name is stored by it, one from a JSON file whole. */
function storedKernels({ name, prefill, decode }: KernelPreset): z.input<typeof graphManifestSchema>['kernels'] {
  return namedKernels(name) ? name : { name, prefill, decode };
}

function openedKernels(stored: GraphManifest['kernels'], file: string): KernelPreset {
  if (typeof stored !== 'string') return parseKernels(stored, `${file}: kernels`);
  const named = namedKernels(stored);
  if (named) return named;
  throw new InputError(`${file}: kernels: found ${JSON.stringify(stored)}, expected ${kernelNames}, or a preset`);
}

/** What graph.json says about the checkpoint must be so: a run is labelled with it, other runtimes find weights by it. */
function checkClaims(dir: string, manifest: GraphManifest, checkpoint: Checkpoint): void {
  const { model, architecture, weights, layout, expandedKv } = manifest;
  const { modelType, heads, kvHeads } = checkpoint.config;
  const refuse = (key: string, value: unknown, expected: string): never => {
    const found = JSON.stringify(value);
    throw new InputError(`${join(dir, manifestName)}: ${key}: found ${found}, ${expected}`, 'export the graphs again');
  };
  const name = checkpointName(checkpoint.dir);
  if (model !== name) refuse('model', model, `the checkpoint is ${name}`);
  if (architecture !== modelType) refuse('architecture', architecture, `the checkpoint is ${modelType}`);
  if (expandedKv && kvHeads === heads) {
    refuse('expandedKv', expandedKv, `the checkpoint has as many K/V heads as heads (${heads}): nothing to repeat`);
  }
  const root = layout === 'single-file' ? dir : checkpoint.weightsRoot;
  if (realPath(join(dir, weights)) !== realPath(root)) {
    refuse('weights', weights, `expected the folder of the weights, ${root}`);
  }
}

/** The path without links, null where nothing is. */
function realPath(path: string): string | null {
  return existsSync(path) ? realpathSync(path) : null;
}

/** What is no hook is the file's fault here, not the command line's. */
function checkHooks(file: string, hooks: string, { config }: Checkpoint): void {
  try {
    selectHooks(hooks, config);
  } catch {
    throw new InputError(`${file}: hooks: found ${JSON.stringify(hooks)}, expected hooks of this model`);
  }
}

function checkGraph(path: string, expected: Uint8Array): void {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch {
    throw new InputError(`${path}: cannot be read, but graph.json lists it`, 'export the graphs again');
  }
  if (Buffer.compare(bytes, expected) !== 0) {
    throw new InputError(
      `${path}: differs from the graph that graph.json describes (${bytes.length} bytes, expected ${expected.length})`,
      'it was changed, or exported by another version: export the graphs again',
    );
  }
}

/** Put the weight files where the graph's external data looks for them; returns their names. */
function placeWeights({ tensors, weightsRoot }: Checkpoint, out: string): string[] {
  const files = [...new Set([...tensors.values()].map(({ file }) => file))];
  return files.map((file) => {
    const name = relative(weightsRoot, file);
    const target = join(out, name);
    guard(target, () => mkdirSync(dirname(target), { recursive: true }));
    guard(target, () => {
      try {
        linkSync(file, target);
      } catch (error) {
        // Another file system, or one without links.
        if (existsSync(target)) throw error;
        copyFileSync(file, `${target}.partial`);
        renameSync(`${target}.partial`, target);
      }
    });
    return forwardSlashes(name);
  });
}

function publish(path: string, bytes: Uint8Array): void {
  const file = new PartialFile(path);
  try {
    file.write(bytes);
    file.publish();
  } catch (error) {
    file.abort();
    throw error;
  }
}
