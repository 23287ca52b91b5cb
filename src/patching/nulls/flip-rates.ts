/**
 * How often the decode kernel changes an element by itself: each class of operations alone, on the uncached arm's input and
 * history, at the hooks that its matmuls write, counted where everything the matmul reads is bit-equal.
 */
import { hookName } from '../../graph/hooks.ts';
import { type OperationClass, operationClasses } from '../../graph/kernels.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Activations, Executor, Patch } from '../../model/executor.ts';
import { forward } from '../../model/plans.ts';
import type { StorageType } from '../../numerics/types.ts';
import { addCheck, type CheckCounts } from '../arms/checks.ts';
import type { ForcedRun } from '../arms/forced-run.ts';
import { mixedKernel, onlyClass } from '../attribution/class-kernels.ts';

/**
 * One matmul: kinds of the hooks it reads and of the one it writes. The softmax belongs to pattern · v, as in a split-KV
 * kernel; where a family norms a sublayer's output, the normed output stands for it.
 */
interface Matmul {
  operation: OperationClass;
  reads: readonly string[];
  writes: string;
  /** What it reads is written by its own class: patched with the uncached arm's value, in a run of its own. */
  pinned?: string;
}

const matmuls: readonly Matmul[] = [
  { operation: 'qkv', reads: ['ln1.normalized'], writes: 'attn.q' },
  { operation: 'qkv', reads: ['ln1.normalized'], writes: 'attn.k' },
  { operation: 'qkv', reads: ['ln1.normalized'], writes: 'attn.v' },
  { operation: 'scores', reads: ['attn.rot_q', 'attn.rot_k'], writes: 'attn.attn_scores' },
  { operation: 'values', reads: ['attn.attn_scores', 'attn.v'], writes: 'attn.z' },
  { operation: 'o', reads: ['attn.z'], writes: 'attn_out' },
  { operation: 'mlp', reads: ['ln2.normalized'], writes: 'mlp.pre' },
  { operation: 'mlp', reads: ['ln2.normalized'], writes: 'mlp.pre_linear' },
  { operation: 'mlp', reads: ['mlp.post'], writes: 'mlp_out', pinned: 'mlp.post' },
  { operation: 'head', reads: ['ln_final.normalized'], writes: 'unembed.out' },
];

/** What was counted at one hook. */
export interface FlipRate {
  hook: string;
  operation: OperationClass;
  /** The type the policy rounds the hook to. */
  dtype: StorageType;
  /** Finite elements that were compared, and those whose bits differ (signed zeros are equal). */
  elements: number;
  differing: number;
}

/**
 * Count on one prompt, at every decode step and layer; hooks in the order of the forward pass.
 * @param check counts logits that differ from the uncached arm's without a class on the decode kernel
 */
export async function flipRates(executor: Executor, run: ForcedRun, check?: CheckCounts): Promise<FlipRate[]> {
  const { layers } = executor.config;
  const stages = Array.from({ length: layers + 1 }, (_, layer) => layer);
  const places = stages.flatMap((layer) =>
    matmuls.filter(({ operation }) => (operation === 'head') === (layer === layers)).map((each) => named(each, layer)),
  );
  const hooks = new Set(places.flatMap(({ reads, writes }) => [...reads, writes]));
  for (let layer = 0; layer < layers; layer++) hooks.add(hookName('resid_pre', layer));
  const rates = new Map<string, FlipRate>();
  const cache = executor.newCache(run.tokens.length);
  cache.copyFrom(run.cache, run.tokens.length);
  const none = mixedKernel(executor.kernels, 0);
  const kernels = operationClasses.map((_, i) => mixedKernel(executor.kernels, onlyClass(i)));
  // One run of a stage per class; the sets of hooks are kept, because the executor finds sessions by them.
  const groups = operationClasses.flatMap((operation, i) =>
    stages.flatMap((layer) => {
      const here = places.filter((place) => place.operation === operation && place.layer === layer);
      return [...new Set(here.map(({ pinned }) => pinned))].map((pinned) => {
        const measured = here.filter((place) => place.pinned === pinned);
        const asked = new Set(measured.flatMap(({ reads, writes }) => [...reads, writes]));
        return { kernel: kernels[i], layer, pinned, measured, asked };
      });
    }),
  );
  for (const [step, n] of run.lengths.entries()) {
    const rows = { start: n - 1, count: 1 };
    // Without a class on the decode kernel a step is the uncached arm, so the rows it writes are those that were there.
    const request = { tokens: run.tokens.slice(n - 1, n), start: n - 1, cache, kernel: none, capture: { hooks } };
    const base = await forward(executor, request);
    const { logits } = base;
    if (check && logits) {
      addCheck(check, executor.policy, `prompt ${run.id}, step ${step + 1}`, (tally) =>
        tally.add('logits', `n = ${n}`, logits, run.logits[step], logits.length),
      );
    }
    for (const { kernel, layer, pinned, measured, asked } of groups) {
      const input = layer === layers ? base.residual : base.activations.get(hookName('resid_pre', layer))!.data;
      const capture = { hooks: asked, patches: pinned === undefined ? [] : [pin(pinned, base.activations)] };
      const activations =
        layer === layers
          ? await executor.unembed(input, 1, kernel, capture)
          : (await executor.block(layer, input, rows, cache.view(layer, n - 1), kernel, capture)).activations;
      for (const place of measured) count(rates, place, base.activations, activations);
    }
  }
  for (const kernel of kernels) await executor.releaseKernel(kernel);
  return places.flatMap(({ writes }) => rates.get(writes) ?? []);
}

/** A matmul of one stage, its hooks by their full names. */
interface Place extends Matmul {
  layer: number;
}

function named({ operation, reads, writes, pinned }: Matmul, layer: number): Place {
  const of = (kind: string) => hookName(kind, layer);
  const place = { operation, layer, reads: reads.map(of), writes: of(writes) };
  return pinned === undefined ? place : { ...place, pinned: of(pinned) };
}

/** Keep a hook at the value it has in `base`. */
function pin(hook: string, base: Activations): Patch {
  const { data, dims } = base.get(hook)!;
  return { hook, mask: { data: Uint8Array.of(1), dims: dims.map(() => 1) }, value: { data, dims } };
}

function count(rates: Map<string, FlipRate>, place: Place, base: Activations, found: Activations): void {
  if (!place.reads.every((name) => equalNumbers(base.get(name)!.data, found.get(name)!.data))) return;
  const [left, right] = [base.get(place.writes)!, found.get(place.writes)!];
  const { operation, writes: hook } = place;
  const rate = rates.get(hook) ?? { hook, operation, dtype: left.dtype, elements: 0, differing: 0 };
  rates.set(hook, rate);
  for (let i = 0; i < left.data.length; i++) {
    // Masked scores are −∞ in both.
    if (!Number.isFinite(left.data[i]) || !Number.isFinite(right.data[i])) continue;
    rate.elements += 1;
    if (left.data[i] !== right.data[i]) rate.differing += 1;
  }
}

/** Zeros of either sign are equal: a −0 that is patched in comes out as +0. */
function equalNumbers(a: FloatArray, b: FloatArray): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The classes whose matmuls changed a bit. */
export function changedClasses(rates: readonly FlipRate[]): OperationClass[] {
  const changed = new Set(rates.filter(({ differing }) => differing > 0).map(({ operation }) => operation));
  return operationClasses.filter((operation) => changed.has(operation));
}
