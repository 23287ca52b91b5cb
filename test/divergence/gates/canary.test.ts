/** The canary's probes and expected values against closed forms of IEEE 754, written out here. */
import { expect, test } from 'vitest';
import { expectedProbe, type Probe, probesOf } from '../../../src/divergence/gates/canary.ts';
import type { StorageType } from '../../../src/numerics/types.ts';

function expected(type: StorageType, compute: 'f32' | 'f64'): Record<string, number> {
  return Object.fromEntries(probesOf(type, compute).map((probe) => [probe.name, expectedProbe(probe, type, compute)]));
}

test('binary16: 11 significand bits, largest number 65504, smallest 2^-24', () => {
  expect(expected('f16', 'f32')).toEqual({
    'half-ulp tie': 0,
    'kept ulp': 2 ** -10,
    'ties to even': 2 ** -9,
    'just below overflow': 0,
    overflow: Infinity,
    'smallest subnormal': 2 ** -24,
    'negative subnormal': -(2 ** -24),
    'half a subnormal': 0,
    'three quarters of a subnormal': 2 ** -24,
  });
});

test('bfloat16: 8 significand bits, float32’s exponents, smallest 2^-133', () => {
  expect(expected('bf16', 'f32')).toEqual({
    'half-ulp tie': 0,
    'kept ulp': 2 ** -7,
    'ties to even': 2 ** -6,
    'just below overflow': 0,
    overflow: Infinity,
    'smallest subnormal': 2 ** -133,
    'negative subnormal': -(2 ** -133),
    'half a subnormal': 0,
    'three quarters of a subnormal': 2 ** -133,
  });
});

test('binary32 and binary64 round their own sums', () => {
  const sums = (ulp: number, subnormal: number) => ({
    'half-ulp tie': 0,
    'kept ulp': ulp,
    'ties to even': 2 * ulp,
    'just below overflow': 0,
    overflow: Infinity,
    'smallest subnormal': subnormal,
    'negative subnormal': -subnormal,
  });
  expect(expected('f32', 'f32')).toEqual(sums(2 ** -23, 2 ** -149));
  expect(expected('f64', 'f64')).toEqual(sums(2 ** -52, 2 ** -1074));
});

test('the operands of the overflow probes are the types’ own', () => {
  const overflow = (type: StorageType, compute: 'f32' | 'f64') =>
    probesOf(type, compute).find((probe) => probe.name === 'overflow');
  expect(overflow('f16', 'f32')).toMatchObject({ a: 65504, b: 16 }); // 65520, the first number beyond the range
  expect(overflow('bf16', 'f32')).toMatchObject({ a: (2 - 2 ** -7) * 2 ** 127, b: 2 ** 119 });
  expect(overflow('f32', 'f32')).toMatchObject({ a: (2 - 2 ** -23) * 2 ** 127, b: 2 ** 103 });
});

test('no type passes another type’s probes', () => {
  const types = ['f16', 'bf16', 'f32'] as const;
  for (const named of types) {
    for (const real of types) {
      if (named === real) continue;
      const wrong = probesOf(named, 'f32').filter((probe: Probe) => {
        return expectedProbe(probe, named, 'f32') !== expectedProbe(probe, real, 'f32');
      });
      expect(wrong.length, `${named} mistaken for ${real}`).toBeGreaterThanOrEqual(2);
    }
  }
  for (const named of types) {
    const wrong = probesOf(named, 'f64').filter(
      (probe) => expectedProbe(probe, named, 'f64') !== expectedProbe(probe, 'f64', 'f64'),
    );
    expect(wrong.length, `${named} mistaken for f64`).toBeGreaterThanOrEqual(2);
  }
});
