/**
 * The random-ulp null: is the drift more than random rounding? A decode in the uncached arm's order (every class with doubled
 * rows: no drift at all) in which elements of the hooks that matmuls write are moved by one unit in the last place, up or
 * down, as often as the decode kernel changes them.
 */
import type { NdArray } from 'ndarray';
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { findHook } from '../../graph/hooks.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import type { HookedFunction } from '../../model/hook-functions.ts';
import { forward } from '../../model/plans.ts';
import { neighbour } from '../../numerics/neighbour.ts';
import { RandomStream } from '../../numerics/random.ts';
import type { StorageType } from '../../numerics/types.ts';
import type { ForcedRun } from '../arms/forced-run.ts';
import { mixedKernel } from '../attribution/class-kernels.ts';
import { type FlipRate, flipRates } from './flip-rates.ts';

export interface RandomUlpOptions {
  /** One decode each. */
  seeds: readonly number[];
  /** How often to flip at which hook; absent: as the decode kernel does on this prompt. */
  rates?: readonly FlipRate[];
}

export interface RandomUlp {
  rates: FlipRate[];
  seeds: number[];
  /** Centred L2 between the flipped decode and the uncached arm: by seed, then by decode step. */
  distances: number[][];
  /** Elements that were flipped, by seed. */
  flipped: number[];
}

/** Run the null on one prompt. Draws are keyed by seed, hook and position. */
export async function randomUlp(executor: Executor, run: ForcedRun, options: RandomUlpOptions): Promise<RandomUlp> {
  const rates = [...(options.rates ?? (await flipRates(executor, run)))];
  const kernel = mixedKernel(executor.kernels, 0);
  const cache = executor.newCache(run.tokens.length);
  const distances: number[][] = [];
  const flipped: number[] = [];
  for (const seed of options.seeds) {
    cache.copyFrom(run.cache, run.promptLength);
    const row: number[] = [];
    const tally = { flipped: 0 };
    for (const [step, n] of run.lengths.entries()) {
      const functions = rates.flatMap((rate) => flipper(executor, rate, seed, n - 1, tally));
      const tokens = run.tokens.slice(n - 1, n);
      const request = { tokens, start: n - 1, cache, kernel, capture: captureNothing, functions };
      const { logits } = await forward(executor, request);
      if (!logits) throw new Error('random ulp: the pass ended before the unembedding');
      row.push(centredDistance(logits, run.logits[step]));
    }
    distances.push(row);
    flipped.push(tally.flipped);
  }
  await executor.releaseKernel(kernel);
  return { rates, seeds: [...options.seeds], distances, flipped };
}

/** The function that flips elements of one hook at one position; none where the kernel never does. */
function flipper(
  { config }: Executor,
  { hook: name, dtype, elements, differing }: FlipRate,
  seed: number,
  position: number,
  tally: { flipped: number },
): HookedFunction[] {
  const hook = findHook(name, config);
  if (!hook || differing === 0) return [];
  const run = (value: NdArray<FloatArray>) => {
    const stream = new RandomStream(seed, `ulp ${name} ${position}`);
    tally.flipped += flip(value.data, dtype, differing / elements, stream);
    return undefined;
  };
  return [{ hook, run }];
}

/** Move finite elements to a neighbour, each with probability `rate`; returns how many were moved. */
export function flip(data: FloatArray, dtype: StorageType, rate: number, stream: RandomStream): number {
  let flipped = 0;
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i]) || stream.uniform() >= rate) continue;
    data[i] = neighbour(dtype, data[i], stream.uniform() < 0.5 ? 'down' : 'up');
    flipped += 1;
  }
  return flipped;
}
