/** The generator against the known answers of its authors. */
import { expect, test } from 'vitest';
import { philox, uniform } from '../../src/numerics/philox.ts';

const words = (text: string) => text.split(' ').map((word) => Number.parseInt(word, 16));

/** `philox4x32 10` lines of tests/kat_vectors in the Random123 distribution. */
test.each([
  ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
])('counter %s under key %s gives %s', (counter, key, answer) => {
  const state = Uint32Array.from(words(counter));
  const [k0, k1] = words(key);
  philox(state, [k0, k1]);
  expect([...state]).toEqual(words(answer));
});

test('a uniform number is never 0 and never 1, where the logarithm of the Gumbel draw would be infinite', () => {
  const smallest = uniform(0, 0);
  const largest = uniform(0xffffffff, 0xffffffff);
  expect(smallest).toBeGreaterThan(0);
  expect(largest).toBeLessThan(1);
  for (const u of [smallest, largest]) expect(Number.isFinite(-Math.log(-Math.log(u)))).toBe(true);
});

test('a uniform number grows with its words, and both words count', () => {
  expect(uniform(0x80000000, 0)).toBeCloseTo(0.5, 12);
  expect(uniform(0x40000000, 0)).toBeCloseTo(0.25, 12);
  expect(uniform(0, 0xffffffff)).toBeLessThan(uniform(0x40, 0));
  expect(uniform(0, 0xffffffff)).toBeGreaterThan(uniform(0, 0));
});
