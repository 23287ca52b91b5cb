/**
 * Bits of binary16 and bfloat16, and round-to-nearest-even into every storage type.
 *
 * Decoding goes through a 65,536-entry table: thousands of times faster than arithmetic per value, and exact.
 */
import { formats, type StorageType } from './types.ts';

const scratch = new DataView(new ArrayBuffer(8));
const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
/** Significand bits of float32 that a 16-bit type drops, and the float32 exponents at which its numbers are normal. */
const dropped = {
  f16: { bits: 13, lowest: 127 - 14, highest: 127 + 15 },
  bf16: { bits: 16, lowest: 1, highest: 254 },
};

/** Round a double to the nearest value of `type`, ties to even, keeping subnormals and overflowing to infinity. */
export function roundTo(type: StorageType, value: number): number {
  if (type === 'f64') return value;
  if (type === 'f32') return Math.fround(value);
  single[0] = value;
  const { bits, lowest, highest } = dropped[type];
  const pattern = singleBits[0];
  const exponent = (pattern >>> 23) & 0xff;
  if (single[0] !== value || exponent < lowest || exponent > highest) return roundSlowly(type, value);
  // Half of the last kept place, less one where that place is even: a tie then stays, anything above it carries.
  singleBits[0] = ((pattern + (1 << (bits - 1)) - 1 + ((pattern >>> bits) & 1)) >>> bits) << bits;
  const rounded = single[0];
  return Math.abs(rounded) > formats[type].maxFinite ? Math.sign(value) * Infinity : rounded;
}

/** Any double: subnormals, overflow, and values that are no float32. */
function roundSlowly(type: 'f16' | 'bf16', value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const { significandBits, minExponent, maxFinite } = formats[type];
  const exponent = Math.max(exponentOf(value), minExponent);
  const spacing = 2 ** (exponent - significandBits + 1);
  const rounded = roundHalfEven(value / spacing) * spacing;
  if (Math.abs(rounded) > maxFinite) return value < 0 ? -Infinity : Infinity;
  return rounded === 0 && value < 0 ? -0 : rounded;
}

/** floor(log2 |value|), exactly, for finite non-zero doubles. */
export function exponentOf(value: number): number {
  scratch.setFloat64(0, value);
  const biased = (scratch.getUint32(0) >>> 20) & 0x7ff;
  if (biased !== 0) return biased - 1023;
  return exponentOf(value * 2 ** 54) - 54;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Bits of the binary16 nearest to `value` (ties to even). NaN gives 0x7e00. */
export function float16Bits(value: number): number {
  const rounded = roundTo('f16', value);
  if (Number.isNaN(rounded)) return 0x7e00;
  const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(rounded);
  if (magnitude === 0) return sign;
  if (magnitude === Infinity) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24);
  const exponent = exponentOf(magnitude);
  return sign | ((exponent + 15) << 10) | ((magnitude / 2 ** exponent - 1) * 1024);
}

/** Bits of the bfloat16 nearest to `value` (ties to even). NaN gives 0x7fc0. */
export function bfloat16Bits(value: number): number {
  const rounded = roundTo('bf16', value);
  if (Number.isNaN(rounded)) return 0x7fc0;
  scratch.setFloat32(0, rounded);
  return scratch.getUint32(0) >>> 16;
}

let float16Table: Float32Array | undefined;

/** All 65,536 binary16 values as float32, indexed by their bits. */
export function float16Values(): Float32Array {
  if (float16Table) return float16Table;
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const mantissa = bits & 1023;
    const magnitude =
      exponent === 31
        ? mantissa === 0
          ? Infinity
          : NaN
        : exponent === 0
          ? mantissa * 2 ** -24
          : (1 + mantissa / 1024) * 2 ** (exponent - 15);
    table[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  float16Table = table;
  return table;
}

/** Decode binary16 bits to float32 values. */
export function decodeFloat16(bits: Uint16Array): Float32Array {
  const table = float16Values();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]];
  return values;
}

/** Decode bfloat16 bits to float32 values. */
export function decodeBfloat16(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}

/** True if `value` is exactly a value of `type` (infinities and NaN included). */
export function representable(type: StorageType, value: number): boolean {
  return Object.is(roundTo(type, value), value);
}
