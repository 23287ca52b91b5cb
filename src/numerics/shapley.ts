/**
 * Shapley values: how much of v(all) − v(∅) each player accounts for, averaged over all orders in which they can join.
 *
 *   φ_i = Σ_{S ∌ i} |S|! (n − 1 − |S|)! / n! · (v(S ∪ i) − v(S))
 *
 * Source: Shapley 1953. They sum to v(all) − v(∅), are 0 for a player that never changes v, and equal for players that
 * change it alike. A subset is a bit mask: bit i is player i.
 */
import { RandomStream } from './random.ts';

/** Beyond this 2^n subsets are too many to hold. */
const mostPlayers = 20;

/**
 * Exact values.
 * @param value v by bit mask of the subset, 2^players of them
 */
export function shapleyValues(players: number, value: ArrayLike<number>): Float64Array {
  checkPlayers(players);
  const subsets = 2 ** players;
  if (value.length !== subsets) throw new RangeError(`Shapley: ${value.length} values for ${subsets} subsets`);
  // |S|! (n − 1 − |S|)! / n! = 1 / (n · C(n − 1, |S|))
  const weights = Array.from({ length: players }, (_, size) => 1 / (players * binomial(players - 1, size)));
  const found = new Float64Array(players);
  for (let subset = 0; subset < subsets; subset++) {
    const weight = weights[size(subset)];
    for (let i = 0; i < players; i++) {
      if ((subset & (1 << i)) === 0) found[i] += weight * (value[subset | (1 << i)] - value[subset]);
    }
  }
  return found;
}

/** Exact values of a game that has to be played: every subset is asked for once, in the order of its bit mask. */
export async function playedShapley(
  players: number,
  play: (subset: number) => Promise<number>,
): Promise<{ values: Float64Array; played: Float64Array }> {
  checkPlayers(players);
  const played = new Float64Array(2 ** players);
  for (let subset = 0; subset < played.length; subset++) played[subset] = await play(subset);
  return { values: shapleyValues(players, played), played };
}

/** Estimates from random orders. */
export interface SampledShapley {
  values: Float64Array;
  /** Standard error of each, from the spread between orders; 0 where all agree. */
  standardErrors: Float64Array;
  /** How many different subsets were played. */
  plays: number;
}

/**
 * Values averaged over `orders` random orders of joining (Castro, Gómez, Tejada 2009); each order is followed by its
 * reverse, which cancels what is linear in the position. They too sum to v(all) − v(∅).
 * @param members a subset as its players, ascending; each is asked for once
 */
export async function sampledShapley(
  players: number,
  orders: number,
  seed: number,
  play: (members: readonly number[]) => Promise<number>,
): Promise<SampledShapley> {
  if (players < 1 || orders < 2) throw new RangeError(`Shapley: ${players} players in ${orders} orders`);
  const stream = new RandomStream(seed, 'shapley');
  const known = new Map<string, number>();
  const ask = async (members: readonly number[]) => {
    const sorted = members.toSorted((a, b) => a - b);
    const key = sorted.join();
    const value = known.get(key) ?? (await play(sorted));
    known.set(key, value);
    return value;
  };
  const sums = new Float64Array(players);
  const squares = new Float64Array(players);
  let order: number[] = [];
  for (let k = 0; k < orders; k++) {
    order = k % 2 === 1 ? order.toReversed() : stream.permutation(players);
    let before = await ask([]);
    for (let at = 0; at < players; at++) {
      const after = await ask(order.slice(0, at + 1));
      sums[order[at]] += after - before;
      squares[order[at]] += (after - before) ** 2;
      before = after;
    }
  }
  const values = sums.map((sum) => sum / orders);
  const standardErrors = squares.map((square, i) =>
    Math.sqrt(Math.max(0, square / orders - values[i] ** 2) / (orders - 1)),
  );
  return { values, standardErrors, plays: known.size };
}

function checkPlayers(players: number): void {
  if (!Number.isInteger(players) || players < 1 || players > mostPlayers) {
    throw new RangeError(`Shapley: ${players} players, expected 1 … ${mostPlayers}`);
  }
}

function size(subset: number): number {
  let members = 0;
  for (let rest = subset; rest > 0; rest &= rest - 1) members += 1;
  return members;
}

function binomial(n: number, k: number): number {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return Math.round(value);
}
