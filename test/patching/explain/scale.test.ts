import { describe, expect, test } from 'vitest';
import { keyedUniform } from '../../../src/model/sampling/choose.ts';
import { roundTo } from '../../../src/numerics/half.ts';
import { scaleOf } from '../../../src/patching/explain/scale.ts';

const types = ['f32', 'f16', 'bf16'] as const;

describe.each(types)('numbers of type %s', (type) => {
  const numbers = (seed: number, length = 16) => {
    const uniform = keyedUniform(seed, { prompt: 'scale', step: 0 });
    return Float32Array.from({ length }, (_, i) => roundTo(type, (uniform(i) - 0.5) * 4));
  };
  const scaled = (values: Float32Array, factor: number) => values.map((value) => roundTo(type, value * factor));

  test.each([2, 0.5, -1, 1 + 2 ** -4, 1 - 2 ** -6, 1.37, -0.003])(
    'times %d: the factor, or one that gives the same bits',
    (factor) => {
      for (let seed = 1; seed <= 20; seed++) {
        const before = numbers(seed);
        const found = scaleOf(before, scaled(before, factor), type)!;
        expect(found.low).toBeLessThanOrEqual(factor);
        expect(found.high).toBeGreaterThanOrEqual(factor);
        expect(scaled(before, found.value)).toEqual(scaled(before, factor));
      }
    },
  );

  test('one element that moved otherwise is no scale', () => {
    const before = numbers(7);
    const after = scaled(before, 1.5);
    after[5] = roundTo(type, before[5] * 1.7);
    expect(scaleOf(before, after, type)).toBeNull();
  });

  test('other numbers, zeros, and a zero that became something are no scale', () => {
    expect(scaleOf(numbers(1), numbers(2), type)).toBeNull();
    expect(scaleOf(numbers(1), new Float32Array(16), type)).toBeNull();
    const before = numbers(3);
    const after = scaled(before, 2);
    before[4] = 0;
    expect(scaleOf(before, after, type)).toBeNull();
  });
});
