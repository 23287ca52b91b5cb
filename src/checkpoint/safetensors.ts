/**
 * Headers of safetensors files, as untrusted input: every length, offset and name is checked before it is used.
 * Format: 8 bytes little-endian header length, a JSON object, then the data; tensors tile the data without holes.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InputError } from '../errors.ts';
import { errorCode } from './json-file.ts';
import { duplicateKey } from './json-keys.ts';

/** The format's own limit. */
const largestHeader = 100_000_000;

/** Bytes per element of every dtype of the format. */
const elementSizes: Record<string, number> = {
  BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E8M0: 1, I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, C64: 8,
  F64: 8, I64: 8, U64: 8,
}; // biome-ignore format: a table

/** One entry of a header; `dtype` may be one that kvlens cannot compute with. */
export interface StoredTensor {
  name: string;
  dtype: string;
  shape: number[];
  /** First byte, from the start of the file. */
  offset: number;
  bytes: number;
}

/**
 * All tensors of one file, in order of their offsets.
 * @throws InputError naming the file, the tensor and what was found.
 */
export function readSafetensorsHeader(file: string): StoredTensor[] {
  const { text, dataStart, dataBytes } = readHeaderText(file);
  const fail = (message: string): never => {
    throw new InputError(`${file}: ${message}`, 'the file is damaged or not a safetensors file; download it again');
  };
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    return fail('the header is not valid JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    return fail('the header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== null) fail(`tensor ${JSON.stringify(twice)} is listed twice in the header`);
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    tensors.push(checkEntry(name, entry, dataStart, dataBytes, fail));
  }
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.offset < end) fail(`tensor ${tensor.name} overlaps the one before it`);
    if (tensor.offset > end) fail(`${tensor.offset - end} bytes before tensor ${tensor.name} belong to no tensor`);
    end = tensor.offset + tensor.bytes;
  }
  if (end !== dataStart + dataBytes)
    fail(`${dataStart + dataBytes - end} bytes after the last tensor belong to no tensor`);
  return tensors;
}

function checkEntry(
  name: string,
  entry: unknown,
  dataStart: number,
  dataBytes: number,
  fail: (message: string) => never,
): StoredTensor {
  if (typeof entry !== 'object' || entry === null)
    return fail(`tensor ${name}: expected an object with dtype, shape, data_offsets`);
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementSizes, dtype)) {
    return fail(
      `tensor ${name}: dtype is ${JSON.stringify(dtype)}, expected one of ${Object.keys(elementSizes).join(', ')}`,
    );
  }
  if (!isCounts(shape)) return fail(`tensor ${name}: shape is ${JSON.stringify(shape)}, expected whole numbers ≥ 0`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`tensor ${name}: data_offsets is ${JSON.stringify(offsets)}, expected [begin, end]`);
  }
  const [begin, end] = offsets;
  if (begin > end) return fail(`tensor ${name}: data_offsets [${begin}, ${end}] end before they begin`);
  if (end > dataBytes)
    return fail(`tensor ${name}: data_offsets end at ${end}, but the file holds ${dataBytes} bytes of data`);
  const bytes = shape.reduce((product, size) => product * size, elementSizes[dtype]);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin) {
    return fail(
      `tensor ${name}: shape [${shape}] of ${dtype} takes ${bytes} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { name, dtype, shape, offset: dataStart + begin, bytes };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function readHeaderText(file: string): { text: string; dataStart: number; dataBytes: number } {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    throw new InputError(`${file}: cannot be opened (${errorCode(error)})`);
  }
  try {
    const { size } = fstatSync(descriptor);
    const hint = 'the file is damaged or not a safetensors file; download it again';
    const prefix = Buffer.alloc(8);
    if (size < 8 || readSync(descriptor, prefix, 0, 8, 0) < 8) {
      throw new InputError(`${file}: ${size} bytes, expected at least 8 for the header length`, hint);
    }
    const length = prefix.readBigUInt64LE();
    if (length > BigInt(Math.min(largestHeader, size - 8))) {
      throw new InputError(
        `${file}: header length is ${length}, but only ${size - 8} bytes follow (limit ${largestHeader})`,
        hint,
      );
    }
    const header = Buffer.alloc(Number(length));
    for (let read = 0; read < header.length; ) {
      const got = readSync(descriptor, header, read, header.length - read, 8 + read);
      if (got === 0) throw new InputError(`${file}: the header ends after ${read} of ${header.length} bytes`, hint);
      read += got;
    }
    const dataStart = 8 + header.length;
    return { text: new TextDecoder('utf8').decode(header), dataStart, dataBytes: size - dataStart };
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${file}: cannot be read (${errorCode(error)})`);
  } finally {
    closeSync(descriptor);
  }
}
