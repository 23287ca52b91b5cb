/**
 * A checkpoint of any supported config.json with seeded random weights, for measuring time and memory at real size:
 * `npx tsx bench/synthetic.mts CONFIG.json DIR [--dtype bf16|f16|f32] [--layers N] [--seed S] [--shard-bytes 5G]`.
 *
 * Names, shapes and scales are a trained model's, so that half precision stays finite and every token changes the logits;
 * it has no tokenizer and says nothing sensible. Each tensor is a random stream of its own, keyed by seed and name: the
 * bytes of a tensor do not depend on the number of layers or the shards. Nothing is repeated: every element is an
 * independent draw from 65,536 normal numbers. Memory does not grow with the model.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readConfig } from '../src/checkpoint/config.ts';
import { requiredTensors } from '../src/checkpoint/required-tensors.ts';
import { indexName } from '../src/checkpoint/shards.ts';
import type { ModelConfig } from '../src/checkpoint/types.ts';
import { bfloat16Bits, float16Bits } from '../src/numerics/half.ts';
import { PartialFile } from '../src/store/files.ts';
import { Random } from './random.mts';
import { gigabytes } from './whole-process.mts';

/** Names in safetensors and in config.json, and what an element takes. */
const dtypes = {
  bf16: { stored: 'BF16', torch: 'bfloat16', bytes: 2 },
  f16: { stored: 'F16', torch: 'float16', bytes: 2 },
  f32: { stored: 'F32', torch: 'float32', bytes: 4 },
} as const;
type Dtype = keyof typeof dtypes;

export interface SyntheticOptions {
  dtype?: Dtype;
  /** Fewer (or more) blocks than the configuration says. */
  layers?: number;
  seed?: number;
  /** Largest shard, in bytes of tensors. */
  shardBytes?: number;
  /** Told before anything large is written. */
  onPlan?: (plan: { bytes: number; free: number; files: number }) => void;
}

export interface Written {
  parameters: number;
  bytes: number;
  files: string[];
}

interface PlannedTensor {
  name: string;
  shape: number[];
  bytes: number;
}

/** Elements written at a time. */
const pieceElements = 2 ** 20;
const tableSize = 65536;

/**
 * Write a checkpoint for the configuration in `configFile` into `dir`.
 * @throws InputError for a configuration kvlens does not support; Error for a folder with content, or too little space.
 */
export function writeSynthetic(configFile: string, dir: string, options: SyntheticOptions = {}): Written {
  const { dtype = 'bf16', seed = 1, shardBytes = 5e9 } = options;
  if (existsSync(dir) && readdirSync(dir).length > 0) {
    throw new Error(`${dir}: the folder is not empty, expected one that does not exist or is empty`);
  }
  mkdirSync(dir, { recursive: true });
  const config = placeConfig(configFile, dir, dtype, options.layers);
  const tensors = [...requiredTensors(config)].map(([name, shape]): PlannedTensor => {
    return { name, shape, bytes: shape.reduce((product, size) => product * size, dtypes[dtype].bytes) };
  });
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const shards = shardTensors(tensors, shardBytes);
  const { bavail, bsize } = statfsSync(dir);
  const free = bavail * bsize;
  options.onPlan?.({ bytes, free, files: shards.length });
  if (bytes * 1.01 > free) {
    rmSync(join(dir, 'config.json'));
    throw new Error(`${dir}: ${gigabytes(free)} are free, expected at least ${gigabytes(bytes * 1.01)}`);
  }
  const fill = filler(config, dtype, seed);
  const files = shards.map((shard, i) => {
    const file =
      shards.length === 1 ? 'model.safetensors' : `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
    writeShard(join(dir, file), shard, dtypes[dtype].stored, fill);
    return file;
  });
  // Last: without its index, a checkpoint whose writing was interrupted does not open.
  if (shards.length > 1) {
    const places = shards.flatMap((shard, i) => shard.map(({ name }): [string, string] => [name, files[i]]));
    const index = { metadata: { total_size: bytes }, weight_map: Object.fromEntries(places) };
    writeFileSync(join(dir, indexName), `${JSON.stringify(index, null, 2)}\n`);
  }
  return { parameters: bytes / dtypes[dtype].bytes, bytes, files };
}

/** The LLaMA-shaped bench model with 24 million parameters, made once in the folder for temporary files. */
export function benchModel(): string {
  const dir = join(tmpdir(), 'kvlens-bench-24m');
  if (!existsSync(join(dir, 'model.safetensors'))) {
    rmSync(dir, { recursive: true, force: true });
    writeSynthetic(fileURLToPath(new URL('24m.config.json', import.meta.url)), dir);
  }
  return dir;
}

/** Write config.json, with what the options change, and read it back as kvlens reads it. */
function placeConfig(configFile: string, dir: string, dtype: Dtype, layers: number | undefined): ModelConfig {
  const given: unknown = JSON.parse(readFileSync(configFile, 'utf8'));
  if (typeof given !== 'object' || given === null)
    throw new Error(`${configFile}: not a JSON object, expected config.json`);
  const config: Record<string, unknown> = { ...given, torch_dtype: dtypes[dtype].torch };
  if (layers !== undefined) {
    config.num_hidden_layers = layers;
    if (Array.isArray(config.layer_types)) config.layer_types = config.layer_types.slice(0, layers);
  }
  const file = join(dir, 'config.json');
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`);
  try {
    return readConfig(dir, false).config;
  } catch (error) {
    rmSync(file);
    throw error;
  }
}

/** Tensors in order, a new file before one would exceed the limit: Hugging Face's rule. */
function shardTensors(tensors: readonly PlannedTensor[], limit: number): PlannedTensor[][] {
  const shards: PlannedTensor[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const tensor of tensors) {
    if (size + tensor.bytes > limit) {
      shards.push([]);
      size = 0;
    }
    shards[shards.length - 1].push(tensor);
    size += tensor.bytes;
  }
  return shards;
}

function padded(count: number): string {
  return String(count).padStart(5, '0');
}

type Fill = (tensor: PlannedTensor, write: (bytes: Uint8Array) => void) => void;

function writeShard(path: string, tensors: readonly PlannedTensor[], stored: string, fill: Fill): void {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape, bytes } of tensors) {
    header[name] = { dtype: stored, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  let text = JSON.stringify(header);
  text += ' '.repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = new PartialFile(path);
  try {
    file.write(Buffer.concat([length, Buffer.from(text)]));
    for (const tensor of tensors) fill(tensor, (bytes) => file.write(bytes));
    file.publish();
  } catch (error) {
    file.abort();
    throw error;
  }
}

/** How a tensor's numbers are spread: centre + width · normal. */
interface Spread {
  centre: number;
  width: number;
}

/**
 * Scales that keep a residual stream of unit variance near one: a matrix maps unit variance to unit variance, the matrices
 * that write to the residual stream share its growth over all layers (Radford et al. 2019), norms change little.
 */
function spread({ name, shape }: PlannedTensor, config: ModelConfig): Spread {
  if (name.endsWith('.bias')) return { centre: 0, width: 0.1 };
  // Gemma's norms multiply by 1 + w.
  if (shape.length === 1) return { centre: config.modelType === 'gemma2' ? 0 : 1, width: 0.1 };
  const fanIn = shape[1];
  // A tied embedding is the output matrix, too. Gemma multiplies its rows by √d, others have small rows then.
  if (name === 'model.embed_tokens.weight') return { centre: 0, width: config.tiedEmbeddings ? fanIn ** -0.5 : 1 };
  const writesResidual = /\.(o_proj|down_proj)\.weight$/.test(name);
  return { centre: 0, width: (writesResidual ? fanIn * 2 * config.layers : fanIn) ** -0.5 };
}

/** Fills tensors piece by piece; every piece is handed over in the same memory. */
function filler(config: ModelConfig, dtype: Dtype, seed: number): Fill {
  const normals = normalTable(seed);
  const piece = dtype === 'f32' ? new Float32Array(pieceElements) : new Uint16Array(pieceElements);
  const tables = new Map<string, Uint16Array | Float32Array>();
  return (tensor, write) => {
    const { centre, width } = spread(tensor, config);
    const key = `${centre} ${width}`;
    const table =
      tables.get(key) ??
      encode(
        normals.map((z) => centre + width * z),
        dtype,
      );
    tables.set(key, table);
    const random = new Random(seed, tensor.name);
    let left = tensor.bytes / dtypes[dtype].bytes;
    for (; left > 0; left -= piece.length) {
      const part = piece.subarray(0, Math.min(left, piece.length));
      random.pick(table, part);
      write(new Uint8Array(part.buffer, 0, part.byteLength));
    }
  };
}

/** Normal numbers and their negatives: the mean is exactly 0. */
function normalTable(seed: number): Float64Array {
  const random = new Random(seed);
  const table = new Float64Array(tableSize);
  for (let i = 0; i < tableSize; i += 2) {
    table[i] = random.normal();
    table[i + 1] = -table[i];
  }
  return table;
}

function encode(values: Float64Array, dtype: Dtype): Uint16Array | Float32Array {
  if (dtype === 'f32') return Float32Array.from(values);
  return Uint16Array.from(values, dtype === 'f16' ? float16Bits : bfloat16Bits);
}

/** `5G`, `200M`, `1000` in bytes. */
function parseBytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)([kMG]?)$/.exec(text);
  if (!found) throw new Error(`--shard-bytes: found ${text}, expected a number of bytes such as 5G or 200M`);
  return Number(found[1]) * { '': 1, k: 1e3, M: 1e6, G: 1e9 }[found[2] as '' | 'k' | 'M' | 'G'];
}

function parseCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined || /^[1-9]\d{0,8}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw new Error(`--${name}: found ${text}, expected a whole number ≥ 1`);
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      dtype: { type: 'string', default: 'bf16' },
      layers: { type: 'string' },
      seed: { type: 'string' },
      'shard-bytes': { type: 'string', default: '5G' },
    },
  });
  const [configFile, dir] = positionals;
  if (positionals.length !== 2) throw new Error(`found ${positionals.length} arguments, expected CONFIG.json DIR`);
  const dtype = (['bf16', 'f16', 'f32'] as const).find((known) => known === values.dtype);
  if (dtype === undefined) throw new Error(`--dtype: found ${values.dtype}, expected bf16, f16 or f32`);
  const layers = parseCount('layers', values.layers);
  const began = performance.now();
  const { parameters, bytes } = writeSynthetic(configFile, dir, {
    ...{ dtype, shardBytes: parseBytes(values['shard-bytes']) },
    ...(layers === undefined ? {} : { layers }),
    seed: parseCount('seed', values.seed) ?? 1,
    onPlan: ({ bytes: planned, free, files }) =>
      console.log(`${dir}: writes ${gigabytes(planned)} in ${files} file(s); ${gigabytes(free)} are free`),
  });
  const seconds = (performance.now() - began) / 1000;
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(
    `${parameters.toLocaleString('en')} parameters, ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, ` +
      `peak ${peak.toFixed(0)} MB`,
  );
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main();
