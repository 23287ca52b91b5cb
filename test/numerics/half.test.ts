/** Rounding to 16 bits against the formats' own definition, over all 65,536 patterns of each. */
import { describe, expect, test } from 'vitest';
import {
  bfloat16Bits,
  decodeBfloat16,
  decodeFloat16,
  exponentOf,
  float16Bits,
  float16Values,
  representable,
  roundTo,
} from '../../src/numerics/half.ts';
import { bfloat16, binary16 } from '../reference/safetensors.ts';

/** value: the definition of the format; infinity: pattern of +∞, one above the largest finite number. */
const formats = [
  { type: 'f16', value: binary16, toBits: float16Bits, decode: decodeFloat16, infinity: 0x7c00, nan: 0x7e00 },
  { type: 'bf16', value: bfloat16, toBits: bfloat16Bits, decode: decodeBfloat16, infinity: 0x7f80, nan: 0x7fc0 },
] as const;

describe.each(formats)('$type', ({ type, value, toBits, decode, infinity, nan }) => {
  const patterns = Array.from({ length: 65536 }, (_, bits) => bits);
  const failing = (holds: (bits: number) => boolean) => patterns.filter((bits) => !holds(bits));
  const isNumber = (bits: number) => !Number.isNaN(value(bits));

  test('decoding gives the value of every pattern', () => {
    const decoded = decode(Uint16Array.from(patterns));
    expect(failing((bits) => Object.is(decoded[bits], value(bits)))).toEqual([]);
  });

  test('every pattern but NaN’s comes back from its value; every NaN becomes the quiet one', () => {
    expect(failing((bits) => toBits(value(bits)) === (isNumber(bits) ? bits : nan))).toEqual([]);
  });

  test('every value is representable and stays itself, the sign of zero included', () => {
    expect(failing((bits) => representable(type, value(bits)))).toEqual([]);
    expect(failing((bits) => Object.is(roundTo(type, value(bits)), value(bits)))).toEqual([]);
  });

  test('between two neighbours, subnormal or normal: the nearer one, and at the middle the even one', () => {
    const wrong: string[] = [];
    const check = (x: number, bits: number) => {
      for (const sign of [1, -1]) {
        const expected = sign > 0 ? bits : bits | 0x8000;
        const right = Object.is(roundTo(type, sign * x), value(expected)) && toBits(sign * x) === expected;
        if (!right || representable(type, sign * x)) wrong.push(`${sign * x}`);
      }
    };
    for (let bits = 0; bits + 1 < infinity; bits++) {
      const [below, above] = [value(bits), value(bits + 1)];
      const middle = (below + above) / 2;
      const nudge = (above - below) * 2 ** -30;
      check(middle, bits % 2 === 0 ? bits : bits + 1);
      check(middle - nudge, bits);
      check(middle + nudge, bits + 1);
      check(below + nudge, bits);
      check(above - nudge, bits + 1);
    }
    expect(wrong).toEqual([]);
  });

  test('half a spacing above the largest finite number overflows to infinity, anything below it does not', () => {
    const largest = value(infinity - 1);
    const edge = largest + (largest - value(infinity - 2)) / 2;
    for (const sign of [1, -1]) {
      expect(roundTo(type, sign * edge)).toBe(sign * Infinity);
      expect(roundTo(type, sign * edge * (1 - 2 ** -30))).toBe(sign * largest);
      expect(roundTo(type, sign * Number.MAX_VALUE)).toBe(sign * Infinity);
    }
  });

  test('the smallest doubles keep their sign and become zero', () => {
    expect(roundTo(type, Number.MIN_VALUE)).toBe(0);
    expect(roundTo(type, -Number.MIN_VALUE)).toBe(-0);
    expect(toBits(-Number.MIN_VALUE)).toBe(0x8000);
  });

  test('infinities and NaN pass through', () => {
    for (const special of [Infinity, -Infinity, NaN]) {
      expect(roundTo(type, special)).toBe(special);
      expect(representable(type, special)).toBe(true);
    }
  });
});

test('binary16 overflows at 65520', () => {
  expect(roundTo('f16', 65519.99)).toBe(65504);
  expect(roundTo('f16', 65520)).toBe(Infinity);
  expect(roundTo('f16', -65520)).toBe(-Infinity);
});

test('the table of binary16 is the format’s definition', () => {
  expect([...float16Values()]).toEqual(Array.from({ length: 65536 }, (_, bits) => binary16(bits)));
});

test('the wide types: float32 as the language rounds, float64 untouched', () => {
  for (const value of [0.1, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 2 ** -150, 3.5e38, -0]) {
    expect(roundTo('f32', value)).toBe(Math.fround(value));
    expect(roundTo('f64', value)).toBe(value);
  }
  expect(representable('f32', 0.1)).toBe(false);
  expect(representable('f64', 0.1)).toBe(true);
});

test('exponentOf is floor(log2) for every binade of a double, at both of its ends', () => {
  for (let exponent = -1074; exponent <= 1023; exponent++) {
    expect(exponentOf(2 ** exponent)).toBe(exponent);
    expect(exponentOf(-(2 ** exponent))).toBe(exponent);
    if (exponent >= -1022) expect(exponentOf(2 ** exponent * (2 - 2 ** -52))).toBe(exponent);
  }
});
