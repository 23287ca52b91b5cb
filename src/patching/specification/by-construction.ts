/**
 * Cells that say nothing because they could not come out otherwise: the patched hooks cut every path from what differs
 * between the arms to the logits. What differs: history rows the cached arm wrote, and operations that the decode kernel
 * sums in another order. Paths are those of `divergence/operations.ts`.
 */
import { inputsOf } from '../../divergence/operations.ts';
import { isCacheHook, modelHooks } from '../../graph/hooks.ts';
import { kernelSignature } from '../../graph/kernels.ts';
import type { Executor, KernelRole } from '../../model/executor.ts';
import { headCount, positionsAt, rowHooks, type Target } from './resolve.ts';

/** A patched step, as far as its paths go. */
export interface PathsOfStep {
  executor: Executor;
  /** The arm that is patched; values of the other one are what it should come to. */
  into: 'cached' | 'uncached';
  kernel: KernelRole;
  decodeRows: number;
  /** Layers 0 … prefix − 1 read the uncached arm's history. */
  prefix: number;
  targets: readonly Target[];
  /** Tokens of the prompt and of the step. */
  promptLength: number;
  n: number;
  /** The only position a cell of a grid patches. */
  only?: number;
}

/** Operations without a constant operand: their sums depend on the number of rows under every kernel. */
const dynamicProducts: ReadonlySet<string> = new Set(['attn.attn_scores', 'attn.z']);

/** True if nothing that differs between the arms reaches the logits. */
export function isByConstruction(step: PathsOfStep): boolean {
  const { config } = step.executor;
  const neutral = step.targets.filter((target) => isNeutral(step, target));
  const cut = new Set(neutral.flatMap((target) => cutHooks(step, target)));
  const differs = kernelDifference(step);
  const dependent = new Set<string>();
  for (const hook of modelHooks(config)) {
    if (hook.definition.optIn || cut.has(hook.name)) continue;
    const { kind } = hook.definition;
    const fromHistory =
      isCacheHook(hook.name) && readsOwnHistory(step, hook.layer, kind === 'attn.cache_k' ? 'k' : 'v');
    if (fromHistory || differs(kind) || inputsOf(hook, config).some((name) => dependent.has(name)))
      dependent.add(hook.name);
  }
  return !dependent.has('logits');
}

/** Values that are not of the arm that is patched. */
function isNeutral({ into }: PathsOfStep, { source }: Target): boolean {
  const other = into === 'cached' ? 'uncached' : 'cached';
  return source.kind === 'zero' || (source.kind === 'arm' && source.arm === other);
}

/** Which operations the kernel of the step computes otherwise than the other arm's. */
function kernelDifference({ executor, into, kernel, decodeRows }: PathsOfStep): (kind: string) => boolean {
  if (kernel === (into === 'cached' ? 'prefill' : 'decode')) return () => false;
  const { prefill, decode } = executor.kernels;
  if (kernelSignature(prefill) !== kernelSignature(decode)) return () => true;
  if (decodeRows > 1) return () => false;
  return decode.prepack ? (kind) => dynamicProducts.has(kind) : () => true;
}

/** Hooks that a target replaces for every row that runs, in every head. */
function cutHooks(step: PathsOfStep, target: Target): string[] {
  const { executor, decodeRows } = step;
  const { config } = executor;
  const rows = positionsOf(step, target, step.n);
  const runs = Math.min(step.n, Math.max(1, step.kernel === 'prefill' ? 1 : decodeRows));
  const coversRun = Array.from({ length: runs }, (_, i) => step.n - 1 - i).every((position) => rows.has(position));
  if (!coversRun) return [];
  const names = target.hooks
    .filter((hook) => coversHeads(target, headCount(hook, config)))
    .filter((hook) => !isCacheHook(hook.name) || rows.size === step.n)
    .map(({ name }) => name);
  if (target.cache === null || !coversHeads(target, config.kvHeads)) return names;
  const { component, layers } = target.cache;
  return [...names, ...layers.flatMap((layer) => rowHooks(component, target.rotary, layer, config))];
}

/** True if a layer reads rows that the patched arm wrote and no patch replaced. */
function readsOwnHistory(step: PathsOfStep, layer: number, part: 'k' | 'v'): boolean {
  const readsUncached = layer < step.prefix;
  if (readsUncached === (step.into === 'cached')) return false;
  const { config } = step.executor;
  const replaced = new Set<number>();
  for (const target of step.targets) {
    const { cache } = target;
    if (cache === null || !isNeutral(step, target) || !coversHeads(target, config.kvHeads)) continue;
    if (!cache.layers.includes(layer) || (cache.component !== 'both' && cache.component !== part)) continue;
    for (const position of positionsOf(step, target, step.n - 1)) replaced.add(position);
  }
  // Rows of the prompt are the prefill's, equal in both arms.
  for (let position = step.promptLength; position < step.n - 1; position++) if (!replaced.has(position)) return true;
  return false;
}

function positionsOf({ promptLength, n, only }: PathsOfStep, target: Target, end: number): Set<number> {
  const all = positionsAt(target.positions, promptLength, n, end);
  return new Set(only === undefined ? all : all.filter((position) => position === only));
}

function coversHeads({ heads }: Target, count: number | null): boolean {
  return heads === null || count === null || heads.length === count;
}
