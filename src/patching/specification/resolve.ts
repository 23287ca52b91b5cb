/** From a spec to the cells of one model: layers, heads and hooks checked, grids taken apart, defaults filled in. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import { UsageError } from '../../errors.ts';
import { type Hook, hasKind, hookName, isCacheHook, selectHooks } from '../../graph/hooks.ts';
import { type KernelPreset, patchRefusal } from '../../graph/kernels.ts';
import type { KernelRole } from '../../model/executor.ts';
import type { Component } from '../arms/history.ts';
import type { HistoryKind } from '../arms/two-by-two.ts';
import { type ArmsSpec, armsSpec, type Index, type PatchOfSpec, type PatchSpec, type PositionWord } from './spec.ts';
import { labelOf, splitTargets } from './target-groups.ts';

/** Where values come from. */
export type Source = { kind: 'arm'; arm: 'cached' | 'uncached' | 'cached-rewrite' } | { kind: 'zero' } | SavedSource;
export interface SavedSource {
  kind: 'run';
  folder: string;
  arm: 'cached' | 'uncached';
}

/** Replace hooks' values, or rows of the cache, from one source. */
export interface Target {
  hooks: readonly Hook[];
  /** Rows of K and V of these layers; none for a target of hooks. */
  cache: { component: Component; layers: readonly number[] } | null;
  /** Null: all. */
  heads: readonly number[] | null;
  positions: readonly (Index | PositionWord)[];
  rotary: 'after' | 'before';
  source: Source;
}

/** One cell, at every step it is measured at; one with `byPosition` is a cell for each position of its targets. */
export interface CellPlan {
  history: HistoryKind;
  kernel: KernelRole;
  /** Layers 0 … prefix − 1 read the recomputed history. */
  prefix: number;
  targets: readonly Target[];
  byPosition: boolean;
  /** What is patched, as patches.arrow says it. */
  label: CellLabel;
}

export interface CellLabel {
  /** Name of the hook, or of several with `*` for their layers, joined by commas; `none`. */
  hook: string;
  /** First and last layer that is patched; −1 for none. */
  firstLayer: number;
  layer: number;
  /** The head of a cell that patches one. */
  head: number | null;
  component: Component | 'value';
}

/** When a cell's patches are on. */
export type Timing =
  | { kind: 'each'; steps: (last: number) => number[] }
  | { kind: 'from'; step: number }
  | { kind: 'release'; until: number[] };

/** A spec made ready for a model. */
export interface ResolvedSpec {
  spec: ArmsSpec;
  cells: CellPlan[];
  timing: Timing;
  /** Full names of hooks whose rows the arms must keep. */
  keep: ReadonlySet<string>;
  /** The order-matched arm is a source. */
  rewrite: boolean;
  /** Runs whose activations are sources. */
  saved: SavedSource[];
}

/**
 * @param kernels of the run: some have no patch point at some hook, which globs then leave out
 * @throws UsageError for another experiment's spec, or naming the field for what the model does not have.
 */
export function resolveSpec(given: PatchSpec, config: ModelConfig, kernels: KernelPreset): ResolvedSpec {
  const spec = armsSpec(given);
  const targets = spec.patches.map((patch, i) => resolveTarget(patch, config, kernels, `patches[${i}]`));
  const own = spec.into === 'cached' ? (['cached', 'decode'] as const) : (['recomputed', 'prefill'] as const);
  const histories = spec.history ?? [own[0]];
  const roles = spec.kernel ?? [own[1]];
  const groups = spec.grid === undefined ? [targets] : splitTargets(targets, spec.grid, config);
  if (groups.length === 0)
    throw new UsageError(`${spec.name}: grid: ${spec.grid?.join()}: the patches have nothing to split by these axes`);
  const prefixes = (history: HistoryKind) => {
    if (history === 'cached') return [0];
    return spec.prefixes ? Array.from({ length: config.layers }, (_, layer) => layer + 1) : [config.layers];
  };
  const byPosition = spec.grid?.includes('position') ?? false;
  const cells = histories.flatMap((history) =>
    roles.flatMap((kernel) =>
      prefixes(history).flatMap((prefix) =>
        groups.map((group) => ({
          history,
          kernel,
          prefix,
          targets: group,
          byPosition,
          label: labelOf(group, prefix, spec.grid ?? []),
        })),
      ),
    ),
  );
  const sources = targets.map(({ source }) => source);
  return {
    ...{ spec, cells, timing: timingOf(spec) },
    keep: keptHooks(targets, config),
    rewrite: sources.some((source) => source.kind === 'arm' && source.arm === 'cached-rewrite'),
    saved: sources.filter((source) => source.kind === 'run'),
  };
}

function resolveTarget(patch: PatchOfSpec, config: ModelConfig, kernels: KernelPreset, field: string): Target {
  const { rotary } = patch;
  const source = sourceOf(patch);
  if (patch.hook === undefined) {
    const layers = expand(patch.layers, config.layers, `${field}.layers`, 'layer');
    const heads = patch.heads === undefined ? null : expand(patch.heads, config.kvHeads, `${field}.heads`, 'K/V head');
    checkPositions(patch, config, field);
    const cache = { component: patch.cache ?? 'both', layers };
    return { hooks: [], cache, heads, positions: patch.positions ?? ['history'], rotary, source };
  }
  const named = selectHooks(patch.hook, config, `${field}.hook`);
  const layers = patch.layers === undefined ? null : expand(patch.layers, config.layers, `${field}.layers`, 'layer');
  const inLayers = named.filter(({ layer }) => layers === null || layers.includes(layer));
  const refusal = ({ name }: Hook) => patchRefusal(kernels.decode, name) ?? patchRefusal(kernels.prefill, name);
  const hooks = inLayers.filter((hook) => refusal(hook) === null);
  if (hooks.length === 0 && inLayers.length > 0) throw new UsageError(`${field}.hook: ${refusal(inLayers[0])}`);
  if (hooks.length === 0)
    throw new UsageError(`${field}.layers: found ${JSON.stringify(patch.layers)}, expected a layer of ${patch.hook}`);
  if (source.kind === 'run' && hooks.some(({ name }) => isCacheHook(name))) {
    throw new UsageError(
      `${field}.hook: "${patch.hook}" reads the cache, expected "cache" instead, to take rows from a run`,
    );
  }
  const heads = patch.heads === undefined ? null : headsOf(patch.heads, hooks, config, field);
  checkPositions(patch, config, field);
  return { hooks, cache: null, heads, positions: patch.positions ?? ['last'], rotary, source };
}

function sourceOf({ from, run, arm }: PatchOfSpec): Source {
  if (from === 'zero') return { kind: 'zero' };
  if (from !== 'run') return { kind: 'arm', arm: from };
  return { kind: 'run', folder: run ?? '', arm: arm ?? 'uncached' };
}

function headsOf(heads: readonly Index[], hooks: readonly Hook[], config: ModelConfig, field: string): number[] {
  const counts = new Set(hooks.map((hook) => headCount(hook, config)));
  const without = hooks.find((hook) => headCount(hook, config) === null);
  if (without) throw new UsageError(`${field}.heads: ${without.name} has no heads, expected a hook with heads`);
  const fewest = Math.min(...[...counts].map((count) => count ?? 0));
  return expand(heads, fewest, `${field}.heads`, 'head');
}

/** Heads of a hook: query heads or K/V heads; null for none. */
export function headCount({ definition }: Hook, { heads, kvHeads }: ModelConfig): number | null {
  if (definition.axes.includes('head')) return heads;
  return definition.axes.includes('kv_head') ? kvHeads : null;
}

/** The indices a list names, ascending; absent: all. */
function expand(list: readonly Index[] | undefined, count: number, field: string, what: string): number[] {
  if (list === undefined) return Array.from({ length: count }, (_, i) => i);
  const found = new Set<number>();
  for (const item of list) {
    const [start, end] = typeof item === 'number' ? [item, item + 1] : item;
    if (end > count) {
      throw new UsageError(`${field}: found ${JSON.stringify(item)}, expected a ${what} from 0 to ${count - 1}`);
    }
    for (let i = start; i < end; i++) found.add(i);
  }
  return [...found].toSorted((a, b) => a - b);
}

function checkPositions({ positions }: PatchOfSpec, { maxPositions }: ModelConfig, field: string): void {
  for (const item of positions ?? []) {
    if (typeof item === 'string') continue;
    const end = typeof item === 'number' ? item + 1 : item[1];
    if (end > maxPositions) {
      throw new UsageError(
        `${field}.positions: found ${JSON.stringify(item)}, expected positions below ${maxPositions}, the context`,
      );
    }
  }
}

/** Positions below `end` that a selection names at a step of n tokens, p of them the prompt's; ascending. */
export function positionsAt(selection: readonly (Index | PositionWord)[], p: number, n: number, end: number): number[] {
  const words: Record<PositionWord, readonly [number, number]> = {
    prompt: [0, p],
    generated: [p, n],
    last: [n - 1, n],
    history: [0, n - 1],
  };
  const found = new Set<number>();
  for (const item of selection) {
    const [from, to] = typeof item === 'number' ? [item, item + 1] : typeof item === 'string' ? words[item] : item;
    for (let position = from; position < Math.min(to, end); position++) found.add(position);
  }
  return [...found].toSorted((a, b) => a - b);
}

function timingOf({ steps }: ArmsSpec): Timing {
  const { at, every, from, until } = steps;
  if (at !== undefined)
    return { kind: 'each', steps: (last) => at.filter((step) => step <= last).toSorted((a, b) => a - b) };
  if (until !== undefined) return { kind: 'release', until: until.toSorted((a, b) => a - b) };
  if (every === undefined) return { kind: 'from', step: from ?? 1 };
  const first = from ?? 1;
  return {
    kind: 'each',
    steps: (last) =>
      Array.from({ length: Math.max(0, Math.floor((last - first) / every) + 1) }, (_, i) => first + i * every),
  };
}

/** Hooks that carry K before and after rotary, and V: where a step's own row is patched. */
export function rowHooks(
  component: Component,
  rotary: 'after' | 'before',
  layer: number,
  config: ModelConfig,
): string[] {
  const before = hasKind(config, 'attn.k_norm.out') ? 'attn.k_norm.out' : 'attn.k';
  const key = rotary === 'before' ? before : 'attn.rot_k';
  return [...(component === 'v' ? [] : [key]), ...(component === 'k' ? [] : ['attn.v'])].map((kind) =>
    hookName(kind, layer),
  );
}

function keptHooks(targets: readonly Target[], config: ModelConfig): ReadonlySet<string> {
  const names = targets.flatMap(({ hooks, cache, rotary }) => [
    ...hooks.map(({ name }) => name),
    ...(cache?.layers ?? []).flatMap((layer) => rowHooks(cache?.component ?? 'both', rotary, layer, config)),
  ]);
  // A cell begins at its first layer, from the residual stream that enters it.
  const entries = Array.from({ length: config.layers }, (_, layer) => hookName('resid_pre', layer));
  return new Set([...names, ...(targets.length > 0 ? entries : [])].filter((name) => !isCacheHook(name)));
}
