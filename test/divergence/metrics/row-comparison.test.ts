/** Comparison of rows against hand-computed cases and a brute-force second implementation on bits. */
import { describe, expect, test } from 'vitest';
import {
  accumulate,
  createComparison,
  finish,
  merge,
  type RowStatistics,
  ulp,
  ulpDistance,
} from '../../../src/divergence/metrics/row-comparison.ts';
import { bfloat16Bits, float16Bits, roundTo } from '../../../src/numerics/half.ts';
import type { StorageType } from '../../../src/numerics/types.ts';
import { randomNumbers } from './random-numbers.ts';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const types: StorageType[] = ['f16', 'bf16', 'f32', 'f64'];

function compare(
  cached: ArrayLike<number>,
  uncached: ArrayLike<number>,
  { dtype = 'f32', rowLength = Math.max(1, cached.length) }: { dtype?: StorageType; rowLength?: number } = {},
): RowStatistics {
  const comparison = createComparison();
  accumulate(comparison, Float64Array.from(cached), Float64Array.from(uncached), { dtype, rowLength });
  return finish(comparison);
}

/** The type's bits of a number, as an integer. */
function bits(dtype: StorageType, value: number): bigint {
  if (dtype === 'f16') return BigInt(float16Bits(value));
  if (dtype === 'bf16') return BigInt(bfloat16Bits(value));
  const view = new DataView(new ArrayBuffer(8));
  if (dtype === 'f32') view.setFloat32(0, value);
  else view.setFloat64(0, value);
  return dtype === 'f32' ? BigInt(view.getUint32(0)) : view.getBigUint64(0);
}

const widths: Record<StorageType, bigint> = { f16: 16n, bf16: 16n, f32: 32n, f64: 64n };

/** METHOD.md: i = sign ? −(bits & mask) : bits. */
function index(dtype: StorageType, value: number): bigint {
  const sign = 1n << (widths[dtype] - 1n);
  const word = bits(dtype, value);
  return word & sign ? -(word & (sign - 1n)) : word;
}

function steps(dtype: StorageType, a: number, b: number): number {
  const distance = index(dtype, a) - index(dtype, b);
  return Number(distance < 0n ? -distance : distance);
}

describe('bits', () => {
  const smallest = 2 ** -149;
  test.each<[string, number[], number[], Partial<RowStatistics>]>([
    ['equal rows differ nowhere', [1, -2, 0], [1, -2, 0], { n_elements: 3, n_differ: 0, rel_l2: 0, cosine: 1 }],
    ['each changed element is counted', [1, 2, 3, 4], [1, 2.5, 3, 5], { n_differ: 2, max_abs: 1 }],
    ['one subnormal step is a difference', [smallest], [0], { n_differ: 1, max_ulp: 1, signed_zero: 0 }],
    [
      '+0 and −0 are a signed zero, not a difference',
      [0, -0, 1],
      [-0, 0, 1],
      { signed_zero: 2, n_differ: 0, max_ulp: 0 },
    ],
    ['−0 on both sides is nothing', [-0], [-0], { signed_zero: 0, n_differ: 0 }],
    ['unlike signs are flips, and differ', [1, -1, 2], [-1, 1, 2], { sign_flips: 2, n_differ: 2, max_abs: 2 }],
    ['a zero flips no sign', [0, -0, 1], [-1, 1, -0], { sign_flips: 0, n_differ: 3 }],
    ['an empty row compares nothing', [], [], { n_elements: 0, n_differ: 0, rel_l2: 0, mean_ulp: 0 }],
  ])('%s', (_, cached, uncached, expected) => {
    expect(compare(cached, uncached)).toMatchObject(expected);
  });

  test('rows of different lengths are refused', () => {
    expect(() => compare([1, 2], [1])).toThrow('rows of 2 and 1 elements');
  });
});

describe('non-finite elements', () => {
  const undefinedDistances = { max_abs: nan, rel_l2: nan, cosine: nan };
  test.each<[string, number[], number[], Partial<RowStatistics>]>([
    ['NaN against a number', [nan, 1], [2, 1], { nonfinite: 1, nan: 1, n_differ: 1, ...undefinedDistances }],
    ['a number against NaN', [2, 1], [nan, 1], { nonfinite: 1, nan: 1, n_differ: 1, ...undefinedDistances }],
    ['Infinity against a number', [inf, 1], [2, 1], { nonfinite: 1, nan: 0, n_differ: 1, ...undefinedDistances }],
    ['Infinity against −Infinity', [inf, 1], [-inf, 1], { nonfinite: 1, nan: 0, n_differ: 1, ...undefinedDistances }],
    ['equal infinities', [inf, -inf, 1], [inf, -inf, 1], { nonfinite: 2, n_differ: 0, max_abs: 0, rel_l2: 0 }],
    ['NaN on both sides', [nan, 1], [nan, 1], { nonfinite: 1, nan: 1, n_differ: 0, max_abs: 0, rel_l2: 0 }],
  ])('%s: counted, its bits compared', (_, cached, uncached, expected) => {
    expect(compare(cached, uncached)).toMatchObject(expected);
  });

  test('ULPs are counted over finite elements only, and their mean is over those', () => {
    const { max_ulp, mean_ulp } = compare([nan, inf, 1 + 2 ** -23, 1], [1, inf, 1, 1]);
    expect([max_ulp, mean_ulp]).toEqual([1, 1 / 2]);
  });

  test('equal infinities leave the distances of the others as they are', () => {
    expect(compare([inf, 3, 4], [inf, 3, 5])).toMatchObject({ max_abs: 1, rel_l2: Math.sqrt(1 / 34), n_differ: 1 });
  });
});

describe('distances', () => {
  test('relative L2 is over the norm of the uncached row', () => {
    expect(compare([3, 4], [0, 4]).rel_l2).toBe(3 / 4);
    expect(compare([0, 4], [3, 4]).rel_l2).toBe(3 / 5);
    expect(compare([1, 0], [0, 0]).rel_l2).toBe(inf);
  });

  test.each([
    ['parallel', [2, 4], [1, 2], 1],
    ['orthogonal', [1, 0], [0, 1], 0],
    ['opposite', [1, -2], [-1, 2], -1],
    ['at 60 degrees', [1, 0], [0.5, Math.sqrt(3) / 2], 0.5],
  ])('the cosine of %s rows', (_, cached, uncached, expected) => {
    expect(compare(cached, uncached, { dtype: 'f64' }).cosine).toBeCloseTo(expected, 15);
  });

  test('a zero row has no direction: its cosine to another row is not 1', () => {
    expect(compare([0, 0], [3, 4]).cosine).not.toBe(1);
  });

  test('the largest difference is in units of the largest element of its own row', () => {
    // Row one: 2^-10 at a row whose largest magnitude is 1.5, ulp 2^-10; row two: 1/4 where the ulp is 1/2.
    const cached = [1.5, 2 ** -10, 1000, 0.25];
    const uncached = [1.5, 0, 1000, 0];
    expect(compare(cached, uncached, { dtype: 'f16', rowLength: 2 }).ulp_row).toBe(1);
    expect(compare(cached, uncached, { dtype: 'f16', rowLength: 4 }).ulp_row).toBe(0.5);
    expect(compare(cached, uncached, { dtype: 'f16', rowLength: 2 }).max_ulp).toBeGreaterThan(5000);
  });

  test('the largest element of a row counts whichever arm has it', () => {
    expect(compare([2, 0], [1, 0], { dtype: 'f16' }).ulp_row).toBe(1 / 2 ** -9);
    expect(compare([1, 0], [2, 0], { dtype: 'f16' }).ulp_row).toBe(1 / 2 ** -9);
  });
});

describe('ULP', () => {
  test.each<[StorageType, number, number]>([
    ['f16', 1, 2 ** -10],
    ['f16', 65504, 32],
    ['f16', 2 ** -14, 2 ** -24],
    ['f16', 0, 2 ** -24],
    ['bf16', 1, 2 ** -7],
    ['bf16', 3.9, 2 ** -6],
    ['bf16', 0, 2 ** -133],
    ['f32', 1.999, 2 ** -23],
    ['f32', 2 ** -140, 2 ** -149],
    ['f64', 1, 2 ** -52],
    ['f64', 0, 2 ** -1074],
  ])('of %s at %d is %d', (dtype, magnitude, expected) => {
    expect(ulp(dtype, magnitude)).toBe(expected);
  });

  const half = 2 ** -10;
  test.each<[string, StorageType, number, number, number]>([
    ['neighbours', 'f16', 1, 1 + half, 1],
    ['across a binade boundary: half a step below 1, a whole one above', 'f16', 1 - half / 2, 1 + half, 2],
    ['a whole binade', 'f16', 1, 2, 1024],
    ['the last subnormal and the first normal', 'f16', 2 ** -14 - 2 ** -24, 2 ** -14, 1],
    ['zero and the smallest subnormal', 'f16', 0, 2 ** -24, 1],
    ['through zero', 'f16', -(2 ** -24), 2 ** -24, 2],
    ['through zero, far out', 'f16', -1, 1, 2 * 15 * 1024],
    ['−0 and a number', 'f16', -0, 2 ** -24, 1],
    ['zero and the largest number', 'f16', 0, 65504, 0x7bff],
    ['neighbours', 'bf16', 1, 1 + 2 ** -7, 1],
    ['across a binade boundary', 'bf16', 2 - 2 ** -7, 2 + 2 ** -6, 2],
    ['subnormals', 'bf16', 2 ** -133, 5 * 2 ** -133, 4],
    ['neighbours', 'f32', 1, 1 + 2 ** -23, 1],
    ['across a binade boundary', 'f32', 1 - 2 ** -24, 1 + 2 ** -23, 2],
    ['through zero', 'f32', -(2 ** -149), 2 ** -149, 2],
    ['subnormals', 'f64', 2 ** -1074, 4 * 2 ** -1074, 3],
  ])('%s (%s): %d and %d are %d apart', (_, dtype, a, b, expected) => {
    expect(ulpDistance(dtype, a, b)).toBe(expected);
    expect(ulpDistance(dtype, b, a)).toBe(expected);
    expect(steps(dtype, a, b)).toBe(expected);
  });

  test.each([
    ['neighbours', 1, 1 + 2 ** -52, 1],
    ['across a binade boundary', 1 - 2 ** -53, 1 + 2 ** -52, 2],
    ['seven steps', 0.1, 0.1 + 7 * 2 ** -56, 7],
  ])('%s (f64): %d and %d are %d apart', (_, a, b, expected) => {
    expect(steps('f64', a, b)).toBe(expected);
    expect(ulpDistance('f64', a, b)).toBe(expected);
  });

  test('f64 rows that differ are at least one step apart', () => {
    expect(compare([1 + 2 ** -52], [1], { dtype: 'f64' })).toMatchObject({ n_differ: 1, max_ulp: 1, mean_ulp: 1 });
  });

  test('mean_ulp is over all finite elements, equal ones too', () => {
    const { max_ulp, mean_ulp } = compare([1 + 3 * half, 2, 4, 8], [1, 2, 4 + 4 * half, 8], { dtype: 'f16' });
    expect([max_ulp, mean_ulp]).toEqual([3, 1]);
  });
});

/** Seeded rows of the type: normals over many binades, subnormals, zeros of both signs; most pairs a few steps apart. */
function randomRows(dtype: StorageType, length: number, seed: number): [Float64Array, Float64Array] {
  const random = randomNumbers(seed);
  const scale = dtype === 'f16' ? [-24, 15] : [-40, 30];
  const draw = () => {
    const kind = random();
    if (kind < 0.05) return random() < 0.5 ? 0 : -0;
    const size = 2 ** (scale[0] + random() * (scale[1] - scale[0]));
    return roundTo(dtype, (random() < 0.5 ? -1 : 1) * size);
  };
  const cached = Float64Array.from({ length }, draw);
  const uncached = cached.map((value) => {
    const kind = random();
    if (kind < 0.3) return value;
    if (kind < 0.4) return -value;
    if (kind < 0.5) return draw();
    return roundTo(dtype, value + Math.round(6 * random() - 3) * ulp(dtype, Math.abs(value)));
  });
  return [cached, uncached];
}

/** The definitions of METHOD.md, written out element by element. */
function bruteForce(dtype: StorageType, cached: Float64Array, uncached: Float64Array, rowLength: number) {
  const all = Array.from(cached, (a, i) => ({ a, b: uncached[i], i }));
  const total = (term: (a: number, b: number) => number) => all.reduce((sum, { a, b }) => sum + term(a, b), 0);
  const differing = all.filter(({ a, b }) => bits(dtype, a) !== bits(dtype, b) && (a !== 0 || b !== 0));
  const distances = all.map(({ a, b }) => steps(dtype, a, b));
  const rowStart = (i: number) => i - (i % rowLength);
  const rowMax = (i: number) =>
    Math.max(
      ...all.slice(rowStart(i), rowStart(i) + rowLength).flatMap((pair) => [Math.abs(pair.a), Math.abs(pair.b)]),
    );
  // Spacing as the difference to the next number up, by its bits.
  const spacing = (magnitude: number) => {
    const next = index(dtype, magnitude) + 1n;
    const view = new DataView(new ArrayBuffer(8));
    if (dtype === 'f64') view.setBigUint64(0, next);
    else view.setUint32(0, Number(dtype === 'bf16' ? next << 16n : next));
    if (dtype === 'f64') return view.getFloat64(0) - magnitude;
    if (dtype !== 'f16') return view.getFloat32(0) - magnitude;
    const [exponent, fraction] = [Number(next) >> 10, Number(next) & 1023];
    return (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)) - magnitude;
  };
  return {
    n_elements: all.length,
    n_differ: differing.length,
    signed_zero: all.filter(({ a, b }) => a === 0 && b === 0 && !Object.is(a, b)).length,
    sign_flips: all.filter(({ a, b }) => a * b < 0 || (a * b === 0 && Math.sign(a) * Math.sign(b) < 0)).length,
    nonfinite: 0,
    nan: 0,
    max_abs: Math.max(...all.map(({ a, b }) => Math.abs(a - b))),
    rel_l2: Math.sqrt(total((a, b) => (a - b) ** 2) / total((_, b) => b * b)),
    max_ulp: Math.max(...distances),
    mean_ulp: distances.reduce((x, y) => x + y, 0) / all.length,
    ulp_row: Math.max(0, ...differing.map(({ a, b, i }) => Math.abs(a - b) / spacing(rowMax(i)))),
    cosine: total((a, b) => a * b) / Math.sqrt(total((a) => a * a) * total((_, b) => b * b)),
  };
}

function closeTo(expected: RowStatistics): object {
  const near = (value: number) =>
    expect.toSatisfy((found: number) => Math.abs(found - value) <= 1e-12 * Math.abs(value));
  const { rel_l2, cosine, mean_ulp, ...exact } = expected;
  return { ...exact, rel_l2: near(rel_l2), cosine: near(cosine), mean_ulp: near(mean_ulp) };
}

describe.each(types)('seeded random rows of %s', (dtype) => {
  test.each([1, 2, 3, 4, 5])('seed %d: every figure is what its definition gives', (seed) => {
    const [cached, uncached] = randomRows(dtype, 96, seed);
    const { max_ulp, mean_ulp, ...expected } = bruteForce(dtype, cached, uncached, 16);
    const found = compare(cached, uncached, { dtype, rowLength: 16 });
    expect(expected.n_differ).toBeGreaterThan(20);
    // f64 ULPs have tests of their own above.
    const ulps = dtype === 'f64' ? found : { max_ulp, mean_ulp };
    expect(found).toEqual(closeTo({ ...expected, max_ulp: ulps.max_ulp, mean_ulp: ulps.mean_ulp }));
  });

  test('rows added one by one and merged are rows compared at once', () => {
    const rowLength = 16;
    const [cached, uncached] = randomRows(dtype, 6 * rowLength, 6);
    cached[3] = inf;
    uncached[3] = inf;
    cached[40] = nan;
    const whole = compare(cached, uncached, { dtype, rowLength });
    const parts = [0, 1, 2].map((part) => {
      const comparison = createComparison();
      for (const row of [2 * part, 2 * part + 1]) {
        const from = row * rowLength;
        const rows = [cached, uncached].map((values) => values.subarray(from, from + rowLength));
        accumulate(comparison, rows[0], rows[1], { dtype, rowLength });
      }
      return comparison;
    });
    const sum = createComparison();
    for (const part of parts) merge(sum, part);
    const { mean_ulp, ...rest } = whole;
    expect(finish(sum)).toEqual({ ...rest, mean_ulp: expect.closeTo(mean_ulp, 9) });
    expect(whole).toMatchObject({ nonfinite: 2, nan: 1, rel_l2: nan });
    uncached[40] = nan;
    expect(compare(cached, uncached, { dtype, rowLength }).rel_l2).toBeGreaterThan(0);
  });
});
