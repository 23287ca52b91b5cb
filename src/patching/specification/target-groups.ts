/** Grids: the targets of a spec taken apart by layer, hook, head and component; and what a cell is called. */
import type { ModelConfig } from '../../checkpoint/types.ts';
import { hookName } from '../../graph/hooks.ts';
import type { Component } from '../arms/history.ts';
import { type CellLabel, headCount, type Target } from './resolve.ts';
import type { GridAxis } from './spec.ts';

interface Coordinate {
  layer?: number;
  kind?: string;
  head?: number;
  component?: 'k' | 'v';
}

/** The targets of each cell of a grid; positions are taken apart step by step. */
export function splitTargets(targets: readonly Target[], axes: readonly GridAxis[], config: ModelConfig): Target[][] {
  let coordinates: Coordinate[] = [{}];
  const by = (values: Coordinate[]) => {
    coordinates = coordinates.flatMap((at) => values.map((value) => ({ ...at, ...value })));
  };
  const sorted = (values: number[]) => [...new Set(values)].toSorted((a, b) => a - b);
  if (axes.includes('layer')) {
    by(
      sorted(targets.flatMap(({ hooks, cache }) => [...hooks.map(({ layer }) => layer), ...(cache?.layers ?? [])])).map(
        (layer) => ({ layer }),
      ),
    );
  }
  if (axes.includes('hook'))
    by(
      [...new Set(targets.flatMap(({ hooks }) => hooks.map(({ definition }) => definition.kind)))].map((kind) => ({
        kind,
      })),
    );
  if (axes.includes('component')) by([{ component: 'k' }, { component: 'v' }]);
  if (axes.includes('head')) by(sorted(targets.flatMap((target) => headsIn(target, config))).map((head) => ({ head })));
  return coordinates
    .map((at) => targets.map((target) => restrict(target, at, config)).filter((target) => target !== null))
    .filter((group) => group.length > 0);
}

function headsIn({ hooks, cache, heads }: Target, config: ModelConfig): number[] {
  if (heads !== null) return [...heads];
  const counts = [...hooks.map((hook) => headCount(hook, config) ?? 0), cache === null ? 0 : config.kvHeads];
  return Array.from({ length: Math.max(...counts) }, (_, i) => i);
}

function restrict(target: Target, { layer, kind, head, component }: Coordinate, config: ModelConfig): Target | null {
  const hooks = target.hooks.filter(
    (hook) =>
      (layer === undefined || hook.layer === layer) &&
      (kind === undefined || hook.definition.kind === kind) &&
      component === undefined &&
      (head === undefined || head < (headCount(hook, config) ?? 0)),
  );
  const cache = target.cache === null || kind !== undefined ? null : restrictCache(target.cache, layer, component);
  if (hooks.length === 0 && cache === null) return null;
  if (head !== undefined && !headsIn(target, config).includes(head)) return null;
  return { ...target, hooks, cache, heads: head === undefined ? target.heads : [head] };
}

function restrictCache(
  cache: NonNullable<Target['cache']>,
  layer: number | undefined,
  component: 'k' | 'v' | undefined,
): Target['cache'] {
  const layers = cache.layers.filter((at) => layer === undefined || at === layer);
  const fits = component === undefined || cache.component === 'both' || cache.component === component;
  return layers.length === 0 || !fits ? null : { layers, component: component ?? cache.component };
}

export function labelOf(targets: readonly Target[], prefix: number, grid: readonly GridAxis[]): CellLabel {
  const layers = targets.flatMap(({ hooks, cache }) => [...hooks.map(({ layer }) => layer), ...(cache?.layers ?? [])]);
  const names = targets.flatMap(({ hooks, cache }) => [
    ...hooks.map(({ name }) => name),
    ...(cache?.layers ?? []).flatMap((layer) =>
      cacheKinds(cache?.component ?? 'both').map((kind) => hookName(kind, layer)),
    ),
  ]);
  const components = new Set(targets.map(({ cache }) => cache?.component ?? 'value'));
  const [component] = components;
  if (targets.length === 0) {
    const whole = prefix > 0 ? wholeHistoryLabel : { hook: 'none', component: 'both' as const };
    return { ...whole, firstLayer: prefix > 0 ? 0 : -1, layer: prefix - 1, head: null };
  }
  return {
    hook: commonName(names),
    firstLayer: Math.min(...layers),
    layer: Math.max(...layers),
    head: grid.includes('head') ? (targets[0].heads?.[0] ?? null) : null,
    component: components.size === 1 ? component : 'both',
  };
}

const wholeHistoryLabel = {
  hook: 'blocks.*.attn.hook_cache_k,blocks.*.attn.hook_cache_v',
  component: 'both' as const,
};

function cacheKinds(component: Component): string[] {
  return [...(component === 'v' ? [] : ['attn.cache_k']), ...(component === 'k' ? [] : ['attn.cache_v'])];
}

/** One name as it is; several with their layers as `*`, at most three. */
function commonName(names: readonly string[]): string {
  if (names.length === 1) return names[0];
  const layers = new Set(names.map((name) => /^blocks\.(\d+)\./.exec(name)?.[1]));
  const short = layers.size === 1 ? names : names.map((name) => name.replace(/^blocks\.\d+\./, 'blocks.*.'));
  const distinct = [...new Set(short)];
  return distinct.length <= 3 ? distinct.join() : `${distinct.slice(0, 2).join()} and ${distinct.length - 2} more`;
}
