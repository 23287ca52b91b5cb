/** Random streams: reproducible, told apart by seed and name, and distributed as they say. */
import { expect, test } from 'vitest';
import { RandomStream } from '../../src/numerics/random.ts';

const draws = (seed: number, name: string, count: number) => {
  const stream = new RandomStream(seed, name);
  return Array.from({ length: count }, () => stream.uniform());
};

test('a seed and a name determine the numbers; another seed or name gives others', () => {
  expect(draws(5, 'a', 20)).toEqual(draws(5, 'a', 20));
  expect(draws(5, 'a', 20)).not.toEqual(draws(6, 'a', 20));
  expect(draws(5, 'a', 20)).not.toEqual(draws(5, 'b', 20));
  expect(draws(5, 'a', 20)).not.toEqual(draws(5 + 2 ** 32, 'a', 20));
});

test('permutations hold every index once, and every place is as likely', () => {
  const stream = new RandomStream(1, 'permutation');
  const counts = new Array<number>(6).fill(0);
  for (let k = 0; k < 6000; k++) {
    const order = stream.permutation(6);
    expect(order.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    counts[order.indexOf(0)] += 1;
  }
  // 1,000 each, σ = √(6000 · 5/36) = 29.
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(130);
});

test('normal numbers have mean 0 and variance 1', () => {
  const stream = new RandomStream(2, 'normal');
  const values = Array.from({ length: 20_000 }, () => stream.normal());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(20_000));
  expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / 20_000));
});
