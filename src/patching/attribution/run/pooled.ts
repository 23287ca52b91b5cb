/** Small sums that tables and summary share. */
import type { ClassGame, GameHistory } from '../class-game.ts';

/** A game again from what a journal holds of it: v by bit mask, for one step. */
export function gameOf(history: GameHistory, worth: readonly number[], steps = 1): ClassGame {
  return { history, steps, worth: new Map(worth.entries()) };
}

/** √(mean of squares); NaN of none. */
export function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
