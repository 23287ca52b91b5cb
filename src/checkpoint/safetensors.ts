/**
 * Headers of safetensors files, as untrusted input: every length, offset and name is checked before it is used.
 * Format: 8 bytes little-endian header length, a JSON object, then the data; tensors tile the data without holes.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { InputError } from '../errors.ts';
import { errorCode } from './json-file.ts';
import { duplicateKey } from './json-keys.ts';
import { show, showName } from './show.ts';

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
  if (!text.startsWith('{')) fail(`the header begins with ${show(text.slice(0, 8))}, expected {`);
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    return fail('the header is not valid JSON, expected an object that lists the tensors');
  }
  if (!isRecord(header)) return fail('the header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== null) fail(`${show(twice)} is listed twice in the header, expected every name once`);
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isRecord(entry)) fail(`__metadata__ is ${show(entry)}, expected an object`);
      continue;
    }
    tensors.push(checkEntry(name, entry, dataStart, dataBytes, fail));
  }
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const tensor of tensors) {
    const name = showName(tensor.name);
    if (tensor.offset < end) fail(`tensor ${name} overlaps the one before it, expected tensors side by side`);
    if (tensor.offset > end) fail(`${tensor.offset - end} bytes before tensor ${name} belong to no tensor, expected 0`);
    end = tensor.offset + tensor.bytes;
  }
  if (end !== dataStart + dataBytes)
    fail(`${dataStart + dataBytes - end} bytes after the last tensor belong to no tensor, expected 0`);
  return tensors;
}

function checkEntry(
  key: string,
  entry: unknown,
  dataStart: number,
  dataBytes: number,
  fail: (message: string) => never,
): StoredTensor {
  const name = showName(key);
  if (!isRecord(entry))
    return fail(`tensor ${name} is ${show(entry)}, expected an object with dtype, shape, data_offsets`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementSizes, dtype)) {
    return fail(`tensor ${name}: dtype is ${show(dtype)}, expected one of ${Object.keys(elementSizes).join(', ')}`);
  }
  if (!isCounts(shape)) return fail(`tensor ${name}: shape is ${show(shape)}, expected whole numbers ≥ 0`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`tensor ${name}: data_offsets is ${show(offsets)}, expected [begin, end]`);
  }
  const [begin, end] = offsets;
  if (begin > end) return fail(`tensor ${name}: data_offsets is [${begin}, ${end}], expected begin ≤ end`);
  if (end > dataBytes)
    return fail(`tensor ${name}: data_offsets end at ${end}, expected at most ${dataBytes}, the bytes of data`);
  const bytes = shape.reduce((product, size) => product * size, elementSizes[dtype]);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin) {
    return fail(
      `tensor ${name}: data_offsets span ${end - begin} bytes, expected ${bytes} for shape ${show(shape)} of ${dtype}`,
    );
  }
  return { name: key, dtype, shape, offset: dataStart + begin, bytes };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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
    const largest = Math.min(largestHeader, size - 8);
    if (length > BigInt(largest)) {
      throw new InputError(
        `${file}: header length is ${length}, expected at most ${largest} in a file of ${size} bytes`,
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
    return { text: decodeUtf8(file, header, hint), dataStart, dataBytes: size - dataStart };
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${file}: cannot be read (${errorCode(error)})`);
  } finally {
    closeSync(descriptor);
  }
}

function decodeUtf8(file: string, bytes: Uint8Array, hint: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(`${file}: the header is not UTF-8 text, expected a JSON object`, hint);
  }
}
