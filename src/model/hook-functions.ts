/**
 * Functions on hooks: a stage is run, each function sees its hook's value, and a value that it changes becomes a patch
 * with which the stage runs again. Stages are small, so this needs no graph that can pause.
 */
import ndarray, { type NdArray } from 'ndarray';
import { type Hook, type HookedModel, modelHooks } from '../graph/hooks.ts';
import { roundTo } from '../numerics/half.ts';
import type { FloatArray } from './arrays.ts';
import type { Activation, Activations, Capture, Patch } from './executor.ts';

/**
 * Called with a copy of a hook's value, in the hook's axis order; what it returns, or leaves in the copy, takes the
 * value's place. A new value is rounded to the type the policy stores at this hook.
 */
export type HookFunction = (
  value: NdArray<FloatArray>,
  hook: { name: string; layer: number },
) => NdArray<FloatArray> | undefined | Promise<NdArray<FloatArray> | undefined>;

/** A function and the hook it belongs to. */
export interface HookedFunction {
  hook: Hook;
  run: HookFunction;
}

/** What a stage returns beside its captured tensors. */
export interface StageOutput {
  activations: Activations;
}

/** The functions in the order a forward pass reaches their hooks. */
export function inExecutionOrder(functions: readonly HookedFunction[], model: HookedModel): HookedFunction[] {
  if (functions.length < 2) return [...functions];
  const order = new Map(modelHooks(model).map(({ name }, index) => [name, index]));
  return functions.toSorted((a, b) => order.get(a.hook.name)! - order.get(b.hook.name)!);
}

/** Run one stage with the functions on its hooks, which are in execution order. */
export async function runStage<T extends StageOutput>(
  functions: readonly HookedFunction[],
  capture: Capture,
  run: (capture: Capture) => Promise<T>,
): Promise<T> {
  if (functions.length === 0) return run(capture);
  const hooks = new Set([...capture.hooks, ...functions.map(({ hook }) => hook.name)]);
  const patches = [...(capture.patches ?? [])];
  let output = await run({ hooks, patches });
  for (const { hook, run: change } of functions) {
    const found = output.activations.get(hook.name);
    if (!found) throw new Error(`${hook.name}: the stage returned no value`);
    const patch = await changed(hook, found, change);
    if (!patch) continue;
    // Of several patches on one hook the last one is the value.
    const earlier = patches.findIndex((other) => other.hook === patch.hook);
    if (earlier >= 0) patches.splice(earlier, 1);
    patches.push(patch);
    output = await run({ hooks, patches });
  }
  return output;
}

/** The patch that a function asks for, or null if it left the value as it was. */
async function changed(hook: Hook, { data, dims, dtype }: Activation, change: HookFunction): Promise<Patch | null> {
  const copy = ndarray(data.slice(), dims);
  const result = (await change(copy, { name: hook.name, layer: hook.layer })) ?? copy;
  if (result.shape.length !== dims.length || result.shape.some((size, axis) => size !== dims[axis])) {
    throw new TypeError(
      `${hook.name}: a hook function returned shape [${result.shape.join(', ')}], expected [${dims.join(', ')}]`,
    );
  }
  const value = rowMajor(result, data.length, data instanceof Float64Array).map((x) => roundTo(dtype, x));
  if (value.every((x, i) => Object.is(x, data[i]))) return null;
  const ones = dims.map(() => 1);
  return { hook: hook.name, mask: { data: Uint8Array.of(1), dims: ones }, value: { data: value, dims } };
}

/** The numbers of an array of any stride, in row-major order. */
function rowMajor(array: NdArray<FloatArray>, size: number, double: boolean): FloatArray {
  const values = double ? new Float64Array(size) : new Float32Array(size);
  const index = array.shape.map(() => 0);
  for (let at = 0; at < size; at++) {
    values[at] = array.get(...index);
    for (let axis = index.length - 1; axis >= 0; axis--) {
      index[axis] += 1;
      if (index[axis] < array.shape[axis]) break;
      index[axis] = 0;
    }
  }
  return values;
}
