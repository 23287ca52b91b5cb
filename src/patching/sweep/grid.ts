/** From what is to be patched to cells: every index along the axes of a target, with labels. */
import { UsageError } from '../../errors.ts';
import { type Axis, findHook, type Hook, hasKind, hookName } from '../../graph/hooks.ts';
import type { ActivationCache } from '../../model/activation-cache.ts';
import type { FloatArray } from '../../model/arrays.ts';
import type { Model } from '../../model/model.ts';
import type { Cell, CellIndex, HookValue } from './cells.ts';
import { tokenLabel } from './labels.ts';

/** Axes of a result. `kv_head`: K/V heads, of which grouped-query models have fewer than heads. */
export type PatchAxis = 'layer' | 'pos' | 'head' | 'kv_head' | 'dest_pos' | 'src_pos';

/** What each axis of a result is called along the patched hook. */
const hookAxes: Record<Exclude<PatchAxis, 'layer'>, Axis> = {
  pos: 'pos',
  head: 'head',
  kv_head: 'kv_head',
  dest_pos: 'query',
  src_pos: 'key',
};

/** What is patched, and along which axes cells are counted. */
export interface PatchTarget {
  /** Hook kind, as in `cache.get(kind, layer)`. */
  kind: string;
  /** Begins with `layer`; entries along axes that are not named are patched together. */
  axes: readonly PatchAxis[];
}

/** The cells of a target and the axes they lie along. */
export function patchGrid(model: Model, { kind, axes }: PatchTarget, tokens: readonly number[]) {
  const { layers, heads, kvHeads } = model.config;
  if (axes[0] !== 'layer') throw new UsageError(`patching ${kind}: found axes ${axes.join()}, expected layer first`);
  const positions = tokens.map((token, i) => `${i}:${tokenLabel(model, token)}`);
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i));
  const labels: Record<PatchAxis, string[]> = {
    ...{ layer: numbers(layers), head: numbers(heads), kv_head: numbers(kvHeads) },
    ...{ pos: positions, dest_pos: positions, src_pos: positions },
  };
  let indices: CellIndex[] = [{}];
  const { axes: known } = hookOf(model, kind, 0).definition;
  for (const axis of axes) {
    if (axis === 'layer') continue;
    const name = hookAxes[axis];
    if (!known.includes(name)) throw new UsageError(`patching ${kind}: has no axis ${axis}, found ${known.join()}`);
    indices = indices.flatMap((index) => labels[axis].map((_, i) => ({ ...index, [name]: i })));
  }
  const cells = Array.from({ length: layers }, (_, layer) =>
    indices.map((at): Cell => ({ hook: hookOf(model, kind, layer), at })),
  ).flat();
  return { cells, axes: axes.map((name) => ({ name, labels: labels[name] })) };
}

function hookOf({ config }: Model, kind: string, layer: number): Hook {
  const hook = hasKind(config, kind) ? findHook(hookName(kind, layer), config) : null;
  if (!hook) throw new UsageError(`patching: this model has no hook of kind "${kind}"`);
  return hook;
}

/** The clean run's values of all patched hooks. */
export function cleanValues(
  model: Model,
  cache: ActivationCache,
  targets: readonly PatchTarget[],
  length: number,
): Map<string, HookValue> {
  const values = new Map<string, HookValue>();
  for (const { kind } of targets) {
    for (let layer = 0; layer < model.config.layers; layer++) {
      const { name, definition } = hookOf(model, kind, layer);
      const { data, shape } = cache.get(name);
      const rows = shape[definition.axes.findIndex((axis) => axis === 'pos' || axis === 'query' || axis === 'cache')];
      checkLength(rows, length);
      if (data instanceof Float64Array !== (model.executor.compute === 'f64'))
        throw new UsageError(
          `patching: the clean run's ${name} is of another precision than the model, expected its own`,
        );
      values.set(name, { data, dims: shape });
    }
  }
  return values;
}

/** Logits of the clean run, [pos, d_vocab]. */
export function cleanLogits(cache: ActivationCache, length: number): FloatArray {
  const { data, shape } = cache.get('logits');
  checkLength(shape[1], length);
  return data;
}

function checkLength(clean: number, corrupted: number): void {
  if (clean === corrupted) return;
  throw new UsageError(
    `patching: the clean run has ${clean} positions and the corrupted prompt ${corrupted} tokens, expected as many`,
    'choose prompts that differ token by token',
  );
}
