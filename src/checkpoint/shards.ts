/** Which safetensors files a checkpoint folder holds: one `model.safetensors`, or shards named by an index. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { InputError } from '../errors.ts';
import { readJsonFile } from './json-file.ts';
import { readSafetensorsHeader, type StoredTensor } from './safetensors.ts';
import { show, showName } from './show.ts';

/** A checkpoint's weights, if they are one file. */
export const weightsName = 'model.safetensors';
/** Names the shards of a checkpoint that has more than one file of weights. */
export const indexName = 'model.safetensors.index.json';
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/** A tensor and the file, inside the checkpoint folder, it was listed in. */
export interface LocatedTensor extends StoredTensor {
  fileName: string;
}

/**
 * All tensors of a checkpoint folder, by name. `model.safetensors` goes before an index, as in Hugging Face's loader.
 * @param check called with each file name before the file is opened (symlink policy)
 */
export function locateTensors(dir: string, check: (fileName: string) => string): Map<string, LocatedTensor> {
  const fileName = weightsName;
  if (!existsSync(join(dir, fileName))) {
    if (existsSync(join(dir, indexName))) return locateSharded(dir, check);
    throw new InputError(missingWeights(dir), 'convert the checkpoint to safetensors');
  }
  return new Map(readSafetensorsHeader(check(fileName)).map((tensor) => [tensor.name, { ...tensor, fileName }]));
}

/** Tensor → shard as an index says. @throws InputError naming the index and the shard that is no file beside it. */
export function readWeightMap(index: string): Record<string, string> {
  const parsed = indexSchema.safeParse(readJsonFile(index));
  if (!parsed.success)
    throw new InputError(`${index}: weight_map is not there or not as expected: tensor names with shard file names`);
  const map = parsed.data.weight_map;
  if (Object.keys(map).length === 0) throw new InputError(`${index}: weight_map is empty, expected tensor names`);
  const stray = shardNames(map).find((name) => !/^[\w.-]+\.safetensors$/.test(name));
  if (stray === undefined) return map;
  throw new InputError(`${index}: weight_map names the shard ${show(stray)}, expected a .safetensors file beside it`);
}

/** The files of a weight map, each once, in order. */
export function shardNames(map: Readonly<Record<string, string>>): string[] {
  return [...new Set(Object.values(map))].sort();
}

function locateSharded(dir: string, check: (fileName: string) => string): Map<string, LocatedTensor> {
  const index = join(dir, indexName);
  const map = readWeightMap(index);
  const tensors = new Map<string, LocatedTensor>();
  for (const fileName of shardNames(map)) {
    if (!existsSync(join(dir, fileName))) {
      throw new InputError(
        `${join(dir, fileName)}: shard is missing, expected because ${index} names it`,
        'download the checkpoint again',
      );
    }
    for (const tensor of readSafetensorsHeader(check(fileName))) {
      const other = tensors.get(tensor.name);
      if (other) {
        throw new InputError(
          `${join(dir, fileName)}: tensor ${showName(tensor.name)} is also in ${other.fileName}, expected it once`,
        );
      }
      tensors.set(tensor.name, { ...tensor, fileName });
    }
  }
  for (const [name, fileName] of Object.entries(map)) {
    const found = tensors.get(name)?.fileName;
    if (found !== fileName) {
      const where = found === undefined ? 'it is in no shard' : `it is in ${found}`;
      throw new InputError(`${index}: weight_map places tensor ${showName(name)} in ${fileName}, but ${where}`);
    }
  }
  return tensors;
}

function missingWeights(dir: string): string {
  const names = readdirSync(dir);
  const other = names.find((name) => /^(pytorch_model.*\.bin|consolidated.*|.*\.gguf|.*\.pth)$/.test(name));
  const found = other ? `found ${other}` : 'found none';
  return `${dir}: expected ${weightsName} or ${indexName} (${found})`;
}
