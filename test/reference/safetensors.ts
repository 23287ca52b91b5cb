/** A safetensors reader for the reference: one file, every tensor decoded to float64. Shares nothing with `src/`. */
import { readFileSync } from 'node:fs';

export interface StoredTensor {
  shape: number[];
  data: Float64Array;
}

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** Every tensor of a file by name. Layout: 8 bytes of header length (little endian), JSON header, data. */
export function readSafetensors(file: string): Map<string, StoredTensor> {
  const bytes = readFileSync(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const dataStart = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(bytes.toString('utf8', 8, dataStart)) as Header;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const start = dataStart + data_offsets[0];
    const size = { F64: 8, F32: 4 }[dtype] ?? 2;
    const length = (data_offsets[1] - data_offsets[0]) / size;
    tensors.set(name, { shape, data: Float64Array.from({ length }, (_, i) => element(view, start + i * size, dtype)) });
  }
  return tensors;
}

function element(view: DataView, at: number, dtype: string): number {
  if (dtype === 'F64') return view.getFloat64(at, true);
  if (dtype === 'F32') return view.getFloat32(at, true);
  const bits = view.getUint16(at, true);
  if (dtype === 'F16') return binary16(bits);
  if (dtype === 'BF16') return bfloat16(bits);
  throw new Error(`reference: dtype ${dtype}`);
}

/** IEEE 754: sign, 5 exponent bits with bias 15, 10 fraction bits; exponent 0 is subnormal, 31 infinite or NaN. */
export function binary16(bits: number): number {
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = (bits & 0x3ff) / 0x400;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}

const word = new DataView(new ArrayBuffer(4));

/** The upper half of a binary32. */
export function bfloat16(bits: number): number {
  word.setUint32(0, bits * 2 ** 16);
  return word.getFloat32(0);
}
