/** Shapley values against their definition: an average over all orders, and the axioms that characterise them. */
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../../src/numerics/random.ts';
import { playedShapley, sampledShapley, shapleyValues } from '../../src/numerics/shapley.ts';

/** A game of random worth. */
function randomGame(players: number, seed: number): Float64Array {
  const stream = new RandomStream(seed, 'game');
  return Float64Array.from({ length: 2 ** players }, () => stream.normal());
}

function permutations(items: number[]): number[][] {
  if (items.length < 2) return [items];
  return items.flatMap((first) => permutations(items.filter((item) => item !== first)).map((rest) => [first, ...rest]));
}

/** The definition: what a player adds on joining, averaged over every order. */
function byOrders(players: number, value: ArrayLike<number>): number[] {
  const sums = new Array<number>(players).fill(0);
  const orders = permutations(Array.from({ length: players }, (_, i) => i));
  for (const order of orders) {
    let subset = 0;
    for (const player of order) {
      sums[player] += value[subset | (1 << player)] - value[subset];
      subset |= 1 << player;
    }
  }
  return sums.map((sum) => sum / orders.length);
}

const close = (found: ArrayLike<number>, expected: ArrayLike<number>) => {
  expect(found.length).toBe(expected.length);
  Array.from(found, (x, i) => expect(Math.abs(x - expected[i]), `player ${i}`).toBeLessThan(1e-12));
};

describe('exact values', () => {
  test.each([1, 2, 3, 4, 5, 6])('%s players: the average over every order', (players) => {
    const game = randomGame(players, players);
    close(shapleyValues(players, game), byOrders(players, game));
  });

  test('efficiency: they sum to v(all) − v(∅)', () => {
    const game = randomGame(6, 9);
    const total = shapleyValues(6, game).reduce((a, b) => a + b, 0);
    expect(Math.abs(total - (game[63] - game[0]))).toBeLessThan(1e-12);
  });

  test('null player: one that never changes the worth gets exactly 0', () => {
    const rest = randomGame(3, 4);
    const game = Float64Array.from({ length: 16 }, (_, subset) => rest[subset & 7]);
    expect(shapleyValues(4, game)[3]).toBe(0);
  });

  test('an additive game gives each its own worth; the glove game gives (2/3, 1/6, 1/6)', () => {
    const worth = [3, -1, 0.5];
    const additive = Array.from({ length: 8 }, (_, s) => worth.reduce((sum, w, i) => sum + (s & (1 << i) ? w : 0), 0));
    close(shapleyValues(3, additive), worth);
    const glove = Array.from({ length: 8 }, (_, s) => (s & 1 && s & 6 ? 1 : 0));
    close(shapleyValues(3, glove), [2 / 3, 1 / 6, 1 / 6]);
  });

  test('a game that is played asks for every subset once', async () => {
    const game = randomGame(3, 2);
    const asked: number[] = [];
    const { values, played } = await playedShapley(3, async (subset) => {
      asked.push(subset);
      return game[subset];
    });
    expect(asked).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect([...played]).toEqual([...game]);
    close(values, shapleyValues(3, game));
  });

  test('a wrong number of worths is refused', () => {
    expect(() => shapleyValues(3, [0, 1])).toThrow(/2 values for 8 subsets/);
    expect(() => shapleyValues(21, [])).toThrow(/expected 1 … 20/);
  });
});

describe('sampled values', () => {
  const game = randomGame(5, 7);
  const play = async (members: readonly number[]) => game[members.reduce((subset, i) => subset | (1 << i), 0)];

  test('come close to the exact ones, within a few standard errors', async () => {
    const { values, standardErrors, plays } = await sampledShapley(5, 400, 3, play);
    const exact = shapleyValues(5, game);
    values.forEach((x, i) => {
      expect(standardErrors[i]).toBeGreaterThan(0);
      expect(standardErrors[i]).toBeLessThan(0.1);
      expect(Math.abs(x - exact[i])).toBeLessThan(4 * standardErrors[i]);
    });
    expect(plays).toBeLessThanOrEqual(32);
  });

  test('are efficient whatever was drawn, and the same for the same seed', async () => {
    const few = await sampledShapley(5, 2, 8, play);
    expect(Math.abs(few.values.reduce((a, b) => a + b, 0) - (game[31] - game[0]))).toBeLessThan(1e-12);
    expect(await sampledShapley(5, 2, 8, play)).toEqual(few);
    expect((await sampledShapley(5, 2, 9, play)).values).not.toEqual(few.values);
  });
});
