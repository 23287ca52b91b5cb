/** Neighbours in a storage type, against every number of the 16-bit types and against the bits of the wider ones. */
import { describe, expect, test } from 'vitest';
import { decodeBfloat16, decodeFloat16 } from '../../src/numerics/half.ts';
import { neighbour } from '../../src/numerics/neighbour.ts';
import { quantile } from '../../src/numerics/quantile.ts';
import { RandomStream } from '../../src/numerics/random.ts';

const everyPattern = Uint16Array.from({ length: 65536 }, (_, i) => i);

describe.each([
  ['f16', decodeFloat16],
  ['bf16', decodeBfloat16],
] as const)('%s', (type, decode) => {
  // Ascending, zeros once; infinities stand at the ends.
  const numbers = [...new Set([...decode(everyPattern)].filter((x) => !Number.isNaN(x)).map((x) => x + 0))];
  numbers.sort((a, b) => a - b);

  test('each finite number is followed and preceded by the next in order', () => {
    const wrong: number[] = [];
    for (let i = 1; i < numbers.length - 1; i++) {
      if (neighbour(type, numbers[i], 'up') !== numbers[i + 1]) wrong.push(numbers[i]);
      if (neighbour(type, numbers[i], 'down') !== numbers[i - 1]) wrong.push(numbers[i]);
    }
    expect(wrong).toEqual([]);
  });

  test('what is not finite stays', () => {
    for (const value of [Infinity, -Infinity, NaN]) expect(neighbour(type, value, 'up')).toBe(value);
  });
});

/** The next number of binary32 or binary64 from its bits. */
function byBits(type: 'f32' | 'f64', value: number, up: boolean): number {
  const view = new DataView(new ArrayBuffer(8));
  const step = up === value > 0 ? 1n : -1n;
  if (type === 'f64') {
    view.setFloat64(0, value);
    view.setBigUint64(0, view.getBigUint64(0) + step);
    return view.getFloat64(0);
  }
  view.setFloat32(0, value);
  view.setUint32(0, Number(BigInt(view.getUint32(0)) + step));
  return view.getFloat32(0);
}

test.each(['f32', 'f64'] as const)('%s: one more or one less in the bits', (type) => {
  const stream = new RandomStream(1, type);
  const bound = type === 'f32' ? 40 : 300;
  const random = Array.from({ length: 2000 }, () => stream.normal() * 10 ** (stream.normal() * (bound / 4)));
  const powers = Array.from({ length: 61 }, (_, i) => 2 ** (i - 30)).flatMap((x) => [x, -x]);
  const subnormal = type === 'f32' ? 2 ** -140 : 2 ** -1060;
  for (const number of [...random, ...powers, subnormal, -subnormal]) {
    const value = type === 'f32' ? Math.fround(number) : number;
    if (value === 0 || !Number.isFinite(value)) continue;
    expect(neighbour(type, value, 'up')).toBe(byBits(type, value, true));
    expect(neighbour(type, value, 'down')).toBe(byBits(type, value, false));
  }
});

test('quantiles of 0 … 10 are ten times the share; a sample of one is itself', () => {
  const sample = [3, 1, 2, 0, 10, 5, 4, 7, 6, 9, 8];
  for (const q of [0, 0.05, 0.5, 0.95, 1]) expect(quantile(sample, q)).toBeCloseTo(10 * q, 12);
  expect(quantile([7], 0.3)).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
});
