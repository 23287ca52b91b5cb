/** Captured activations by hook name, as ndarray views: TransformerLens's `ActivationCache`. */
import ndarray, { type NdArray } from 'ndarray';
import { UsageError } from '../errors.ts';
import { canonicalHookName, findHook, type HookedModel, hookName, modelHooks } from '../graph/hooks.ts';
import type { FloatArray } from './arrays.ts';
import type { Activations } from './executor.ts';

/** Read-only map from hook names to activations. Values are views: they share memory with the run that made them. */
export class ActivationCache {
  private readonly activations: Activations;
  private readonly model: HookedModel;

  constructor(activations: Activations, model: HookedModel) {
    this.activations = activations;
    this.model = model;
  }

  /** Full names, in execution order. */
  get names(): string[] {
    return modelHooks(this.model).flatMap(({ name }) => (this.activations.has(name) ? [name] : []));
  }

  /** True if a hook was captured; names as in `get`. */
  has(name: string, layer?: number): boolean {
    const full = this.fullName(name, layer);
    return full !== null && this.activations.has(full);
  }

  /**
   * One activation in its hook's axis order: by full name (`blocks.3.hook_resid_post`), by kind and layer
   * (`'resid_post', 3`; −1 is the last layer), or by any accepted alias.
   * @throws UsageError for a name that is not a hook or was not captured.
   */
  get(name: string, layer?: number): NdArray<FloatArray> {
    const full = this.fullName(name, layer);
    const found = full === null ? undefined : this.activations.get(full);
    if (!found) {
      const asked = layer === undefined ? `"${name}"` : `"${name}", ${layer}`;
      const why = full === null ? 'is no hook of this model' : 'was not captured';
      throw new UsageError(
        `cache.get(${asked}): ${why}, found ${this.activations.size} hooks`,
        'namesFilter chooses them',
      );
    }
    return ndarray(found.data, found.dims);
  }

  /**
   * The residual stream at the end of every block: [layer, batch, pos, d_model], row-major, and the labels of its rows.
   * `resid_pre` of block 0 is the first row.
   */
  accumulatedResid(): { stack: NdArray<FloatArray>; labels: string[] } {
    const parts = [this.get('resid_pre', 0)];
    for (let layer = 0; layer < this.model.layers; layer++) parts.push(this.get('resid_post', layer));
    const [first] = parts;
    const double = first.data instanceof Float64Array;
    const data = double ? new Float64Array(parts.length * first.size) : new Float32Array(parts.length * first.size);
    parts.forEach((part, i) => {
      data.set(part.data, i * first.size);
    });
    const labels = parts.map((_, i) => (i === 0 ? '0_pre' : `${i - 1}_post`));
    return { stack: ndarray(data, [parts.length, ...first.shape]), labels };
  }

  [Symbol.iterator](): Iterator<[string, NdArray<FloatArray>]> {
    return this.names.map((name): [string, NdArray<FloatArray>] => [name, this.get(name)])[Symbol.iterator]();
  }

  private fullName(name: string, layer?: number): string | null {
    if (layer === undefined) {
      const full = canonicalHookName(name);
      return findHook(full, this.model) ? full : null;
    }
    try {
      return hookName(name.replace(/(^|\.)hook_/, '$1'), layer < 0 ? layer + this.model.layers : layer);
    } catch {
      return null;
    }
  }
}
