/**
 * The K-permuted placebo: the uncached arm against itself with the contraction axis of some classes in a random order – the
 * same mathematics, no cache, another order of summation. How far that drifts is the ceiling of rounding noise.
 */
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { type GraphKernel, type KernelPreset, type OperationClass, operationClasses } from '../../graph/kernels.ts';
import type { UncachedPlan } from '../../model/arms.ts';
import type { Executor } from '../../model/executor.ts';
import { type ForcedRun, uncachedUnder } from '../arms/forced-run.ts';
import { changedClasses, flipRates } from './flip-rates.ts';

export interface PlaceboOptions {
  /** One permuted arm each. */
  seeds: readonly number[];
  /** Classes to permute; absent: those whose matmuls the decode kernel changes on this prompt (`flipRates`). */
  classes?: readonly OperationClass[];
  /** How the permuted arms are computed: `stand-in` where gates null and prefix hold. Default `stand-in`. */
  plan?: UncachedPlan;
}

export interface Placebo {
  classes: OperationClass[];
  seeds: number[];
  /** Centred L2 between the permuted and the plain uncached arm: by seed, then by decode step. */
  distances: number[][];
}

/** The uncached arm's kernel with these classes in the order that `seed` draws. */
export function permutedKernel(
  { prefill }: KernelPreset,
  classes: readonly OperationClass[],
  seed: number,
): GraphKernel {
  const permuted = operationClasses.filter((name) => classes.includes(name));
  const changed = permuted.map((name) => [name, { ...prefill.classes?.[name], permute: seed }]);
  return { ...prefill, classes: { ...prefill.classes, ...Object.fromEntries(changed) } };
}

/** Run the placebo on one prompt, on the tokens and against the logits of `run`. */
export async function placebo(executor: Executor, run: ForcedRun, options: PlaceboOptions): Promise<Placebo> {
  const { seeds, plan = 'stand-in' } = options;
  const classes = [...(options.classes ?? changedClasses(await flipRates(executor, run)))];
  const distances: number[][] = [];
  for (const seed of seeds) {
    const kernel = permutedKernel(executor.kernels, classes, seed);
    const permuted = await uncachedUnder(executor, kernel, run, plan);
    distances.push(permuted.map((logits, step) => centredDistance(logits, run.logits[step])));
    await executor.releaseKernel(kernel);
  }
  return { classes, seeds: [...seeds], distances };
}
