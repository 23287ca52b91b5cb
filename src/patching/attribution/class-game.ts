/**
 * Which class of operations makes the drift: the decode kernel applied to one class at a time, and to every subset of them.
 *
 * v(S) = Σ over decode steps of D, the L2 of mean-centred logits between the uncached arm and a step of one row in which the
 * classes of S run the decode kernel and the others sum in the prefill's order. Two histories: `recomputed` (each step reads
 * the uncached arm's K/V rows, so v holds one step's error) and `cached` (each step reads the rows that its own earlier
 * steps wrote: a whole decode). v(∅) must be 0 to the bit; that is the gate of everything that is computed from v.
 */
import { centredDistance } from '../../divergence/metrics/logits.ts';
import { hookName } from '../../graph/hooks.ts';
import { type GraphKernel, type OperationClass, operationClasses } from '../../graph/kernels.ts';
import type { FloatArray } from '../../model/arrays.ts';
import { captureNothing, type Executor } from '../../model/executor.ts';
import type { KVCache } from '../../model/kv-cache.ts';
import { forward } from '../../model/plans.ts';
import { shapleyValues } from '../../numerics/shapley.ts';
import { addCheck, type CheckCounts } from '../arms/checks.ts';
import type { ForcedRun } from '../arms/forced-run.ts';
import { type ClassSet, everyClass, mixedKernel, onlyClass } from './class-kernels.ts';

/** Which K/V rows each step reads. */
export type GameHistory = 'recomputed' | 'cached';

/** v by subset. */
export interface ClassGame {
  history: GameHistory;
  /** Decode steps that v sums over. */
  steps: number;
  /** v(S) for the subsets that were played, by bit mask. */
  worth: ReadonlyMap<ClassSet, number>;
}

/** Every subset of the six classes. */
export const everySubset: readonly ClassSet[] = Array.from({ length: everyClass + 1 }, (_, subset) => subset);

/** No class, and each by itself. */
export const oneAtATime: readonly ClassSet[] = [0, ...operationClasses.map((_, i) => onlyClass(i))];

const headBit = onlyClass(operationClasses.indexOf('head'));

export interface PlayOptions {
  /** Default all 64. */
  subsets?: readonly ClassSet[];
  /**
   * Keep the sessions of every subset for the next game: 33 times the memory of the model, without loading it again. They
   * close with the executor's `release`.
   */
  keepSessions?: boolean;
  /** Counts logits that differ from the uncached arm's without a class on the decode kernel. */
  check?: CheckCounts;
}

/** Play the game on one prompt. Subsets that differ in the unembedding alone share their blocks. */
export async function playClasses(
  executor: Executor,
  run: ForcedRun,
  history: GameHistory,
  { subsets = everySubset, keepSessions = false, check }: PlayOptions = {},
): Promise<ClassGame> {
  const worth = new Map<ClassSet, number>(subsets.map((subset) => [subset, 0]));
  const cache = executor.newCache(run.tokens.length);
  for (const blocks of new Set(subsets.map((subset) => subset & ~headBit))) {
    cache.copyFrom(run.cache, run.promptLength);
    const kernel = mixedKernel(executor.kernels, blocks);
    const members = subsets
      .filter((subset) => (subset & ~headBit) === blocks)
      .map((subset) => ({ subset, head: mixedKernel(executor.kernels, subset) }));
    for (const [step, n] of run.lengths.entries()) {
      if (history === 'recomputed') restore(cache, run.cache, n - 2, executor.config.layers);
      const residual = await newestResidual(executor, run, n, cache, kernel);
      for (const { subset, head } of members) {
        const logits = await unembed(executor, residual, head);
        worth.set(subset, worth.get(subset)! + centredDistance(logits, run.logits[step]));
        if (subset === 0 && check) {
          addCheck(check, executor.policy, `prompt ${run.id}, step ${step + 1}, ${history} history`, (tally) =>
            tally.add('logits', `n = ${n}`, logits, run.logits[step], logits.length),
          );
        }
      }
    }
    if (!keepSessions) await executor.releaseKernel(kernel);
  }
  return { history, steps: run.lengths.length, worth };
}

/** Bring one row back to what the uncached arm wrote: the step before has overwritten it. */
function restore(cache: KVCache, from: KVCache, row: number, layers: number): void {
  for (let layer = 0; layer < layers; layer++) {
    const { keys, values } = from.view(layer, row + 1);
    cache.write(layer, row, keys.subarray(row * from.rowSize), values.subarray(row * from.rowSize));
  }
}

async function newestResidual(
  executor: Executor,
  { tokens }: ForcedRun,
  n: number,
  cache: KVCache,
  kernel: GraphKernel,
): Promise<FloatArray> {
  const request = { tokens: tokens.slice(n - 1, n), start: n - 1, cache, kernel, capture: captureNothing };
  return (await forward(executor, { ...request, stopAtLayer: executor.config.layers })).residual;
}

async function unembed(executor: Executor, residual: FloatArray, kernel: GraphKernel): Promise<FloatArray> {
  return (await executor.unembed(residual, 1, kernel, captureNothing)).get(hookName('logits'))!.data;
}

/** v summed over prompts, on the subsets that every game played. */
export function addGames(games: readonly ClassGame[]): ClassGame {
  const [first, ...rest] = games;
  if (!first) throw new Error('games: none to add');
  if (rest.some(({ history }) => history !== first.history)) throw new Error('games: of unlike history');
  const shared = [...first.worth].filter(([subset]) => rest.every(({ worth }) => worth.has(subset)));
  const worth = new Map(
    shared.map(([subset, value]) => [subset, rest.reduce((sum, game) => sum + game.worth.get(subset)!, value)]),
  );
  return { history: first.history, steps: games.reduce((sum, { steps }) => sum + steps, 0), worth };
}

/** One class's part in the drift, per decode step. */
export interface ClassShare {
  operation: OperationClass;
  /** Its Shapley value in v: these sum to v(all) − v(∅). */
  shapley: number;
  /** v of this class alone. */
  oneIn: number;
  /** v(all) − v of all others. */
  leaveOneOut: number;
}

/** What a game of all 64 subsets says; means over decode steps. */
export interface ClassAttribution {
  history: GameHistory;
  steps: number;
  /** v(∅); the gate asks for 0, in float64 for 1e-9. */
  none: number;
  /** v(all): the decode kernel as it is. */
  all: number;
  shares: ClassShare[];
}

/**
 * Shapley value, one-in and leave-one-out of each class of operations, from the drift of all their subsets.
 * @throws Error if a subset was not played.
 */
export function attributeClasses({ history, steps, worth }: ClassGame): ClassAttribution {
  const v = everySubset.map((subset) => {
    const value = worth.get(subset);
    if (value === undefined) throw new Error(`game: subset ${subset} was not played`);
    return value / steps;
  });
  const shapley = shapleyValues(operationClasses.length, v);
  const shares = operationClasses.map((operation, i) => ({
    operation,
    shapley: shapley[i],
    oneIn: v[onlyClass(i)],
    leaveOneOut: v[everyClass] - v[everyClass & ~onlyClass(i)],
  }));
  return { history, steps, none: v[0], all: v[everyClass], shares };
}

/** The gate of a game: without a class on the decode kernel there is no drift, so what v holds is the kernel's. */
export function gameGate({ worth, steps }: ClassGame, compute: 'f32' | 'f64'): { passed: boolean; measured: number } {
  const measured = (worth.get(0) ?? Number.NaN) / steps;
  // Float64 is held to a tolerance everywhere: its Softmax depends on the number of rows.
  return { passed: compute === 'f64' ? measured <= 1e-9 : measured === 0, measured };
}

/** The classes that by themselves change a step's logits, from a game with at least one class at a time. */
export function orderDependentClasses({ worth }: ClassGame): OperationClass[] {
  return operationClasses.filter((_, i) => (worth.get(onlyClass(i)) ?? 0) > 0);
}
