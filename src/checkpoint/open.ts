/** Open a checkpoint folder: config.json, safetensors headers and tokenizer, all checked; weights stay on disk. */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { InputError } from '../errors.ts';
import { decodeBfloat16, decodeFloat16 } from '../numerics/half.ts';
import { readConfig } from './config.ts';
import { errorCode } from './json-file.ts';
import { requireTensors } from './require-tensor.ts';
import { indexName, type LocatedTensor, locateTensors } from './shards.ts';
import { showName } from './show.ts';
import { openTokenizer } from './tokenizer.ts';
import type { Checkpoint, ModelConfig, TensorInfo } from './types.ts';

/**
 * Open a checkpoint in Hugging Face's layout: a plain folder, or a snapshot of a hub cache whose files are symlinks
 * into the same repository's `blobs/`.
 * @throws InputError naming the file, the value and what was expected.
 */
export async function openCheckpoint(dir: string, options: { name?: string } = {}): Promise<Checkpoint> {
  checkFolder(dir);
  const resolveFile = fileResolver(dir);
  for (const name of ['config.json', 'tokenizer.json', 'generation_config.json', 'tokenizer_config.json', indexName]) {
    if (existsSync(join(dir, name))) resolveFile(name);
  }
  const read = readConfig(dir, existsSync(join(dir, 'generation_config.json')));
  const { config, unknownKeys } = read;
  const located = locateTensors(dir, resolveFile);
  const tensors = requireTensors(dir, read, located, resolveFile);
  refuseUnread(dir, located, tensors, config);
  const files = [...new Set([...tensors.values()].map((tensor) => tensor.file))];
  const tokenizer = openTokenizer(dir, config.vocabSize);
  let weightsDigest: Promise<string> | undefined;
  return {
    dir,
    name: options.name ?? checkpointName(dir),
    config,
    tensors,
    weightsRoot: commonFolder(files.map((file) => dirname(file))),
    tokenizer,
    unknownConfigKeys: unknownKeys,
    unusedTensors: [...located.keys()].filter((name) => !tensors.has(name) && !isInert(name)).map(showName),
    sha256: () => {
      const names = [...new Set([...located.values()].map((tensor) => tensor.fileName))].sort();
      weightsDigest ??= digest(names.map((name) => resolveFile(name)));
      return weightsDigest;
    },
    tokenizerSha256: async () => (tokenizer ? digest([join(dir, 'tokenizer.json')]) : null),
    readTensor: (name) => {
      const tensor = tensors.get(name);
      if (!tensor) throw new InputError(`${dir}: tensor ${name} is missing`);
      return readValues(tensor);
    },
  };
}

/** What a checkpoint is called where nobody says otherwise: the last part of its folder. */
export function checkpointName(dir: string): string {
  return showName(folderName(resolve(dir)));
}

function checkFolder(dir: string): void {
  let isFolder: boolean;
  try {
    isFolder = statSync(dir).isDirectory();
  } catch (error) {
    throw new InputError(`${dir}: cannot be opened (${errorCode(error)}), expected a checkpoint folder`);
  }
  if (!isFolder) throw new InputError(`${dir}: is a file, expected a checkpoint folder with config.json`);
  if (!existsSync(join(dir, 'config.json'))) {
    throw new InputError(`${dir}: no config.json, expected a checkpoint folder in Hugging Face's layout`);
  }
}

/** A folder's last part; NAME for `models--ORG--NAME/snapshots/COMMIT` of a hub cache. */
function folderName(path: string): string {
  const hosted = /^models--.+--(.+)$/.exec(basename(dirname(dirname(path))));
  return hosted && basename(dirname(path)) === 'snapshots' ? hosted[1] : basename(path);
}

/** Real paths of a folder's files; a link may not leave the folder, or the hub repository that holds the snapshot. */
function fileResolver(dir: string): (fileName: string) => string {
  const root = realpathSync(dir);
  const repository = basename(dirname(root)) === 'snapshots' ? dirname(dirname(root)) : root;
  return (fileName) => {
    const path = join(dir, fileName);
    let real: string;
    try {
      real = realpathSync(path);
    } catch (error) {
      throw new InputError(`${path}: cannot be opened (${errorCode(error)})`, 'download the checkpoint again');
    }
    if (!real.startsWith(repository + sep)) {
      throw new InputError(`${path}: links to ${real}, outside the checkpoint folder`, 'copy the file into the folder');
    }
    if (!statSync(real).isFile()) throw new InputError(`${path}: is not a file, expected one`);
    return real;
  };
}

/** A tensor of a used layer that nobody reads (a bias, an adapter, a scale) would be left out of the mathematics. */
function refuseUnread(
  dir: string,
  located: ReadonlyMap<string, LocatedTensor>,
  read: ReadonlyMap<string, TensorInfo>,
  config: ModelConfig,
): void {
  for (const { name, fileName } of located.values()) {
    const layer = /^model\.layers\.(\d+)\./.exec(name);
    if (!layer || read.has(name) || name.endsWith('.rotary_emb.inv_freq')) continue;
    if (Number(layer[1]) >= config.layers) {
      throw new InputError(
        `${join(dir, fileName)}: holds tensor ${showName(name)}, but num_hidden_layers is ${config.layers} in config.json, expected no more layers`,
        'the layers left out would make it another model',
      );
    }
    throw new InputError(
      `${join(dir, fileName)}: tensor ${showName(name)} is not part of a ${config.modelType} model, expected none beside its weights`,
      'biases, adapters and quantised weights are not supported',
    );
  }
}

/** Tables that old checkpoints carry and every implementation computes anew. */
function isInert(name: string): boolean {
  return name.endsWith('.rotary_emb.inv_freq');
}

/** Deepest folder that contains all of these folders. */
function commonFolder(folders: string[]): string {
  let common = folders[0];
  while (!folders.every((folder) => folder === common || folder.startsWith(common + sep))) common = dirname(common);
  return common;
}

async function digest(files: string[]): Promise<string> {
  const hash = createHash('sha256');
  // Large pieces: weights are gigabytes, and each piece has its cost.
  for (const file of files) {
    for await (const chunk of createReadStream(file, { highWaterMark: 8 * 1024 * 1024 })) hash.update(chunk);
  }
  return hash.digest('hex');
}

function readValues(tensor: TensorInfo): Float32Array {
  const bytes = new Uint8Array(tensor.bytes);
  const descriptor = openSync(tensor.file, 'r');
  try {
    for (let read = 0; read < bytes.length; ) {
      const got = readSync(descriptor, bytes, read, Math.min(bytes.length - read, 2 ** 30), tensor.offset + read);
      if (got === 0) throw new InputError(`${tensor.file}: ends inside tensor ${tensor.name}`);
      read += got;
    }
  } finally {
    closeSync(descriptor);
  }
  if (tensor.dtype === 'F32') return new Float32Array(bytes.buffer);
  const bits = new Uint16Array(bytes.buffer);
  return tensor.dtype === 'F16' ? decodeFloat16(bits) : decodeBfloat16(bits);
}
